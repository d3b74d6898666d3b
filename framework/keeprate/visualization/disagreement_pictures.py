"""Pictures of the samples on which finished runs disagree most, checked against their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..analysis.disagreement import DisagreedSample
from ..analysis.run_selection import SelectedRuns
from ..analysis.runs import RunGroup
from ..analysis.sections.disagreement import disputed
from ..results.picture_index import Pictured, PicturedGroup, PicturedGuess, PictureIndex
from ..results.store import Store
from .class_names import class_names
from .image_selection import check_blocks
from .restored_runs import RestoredRuns, RunFiles, restore_runs
from .sheet import png
from .token_sheet import SheetLayout, sheet_of
from .token_tracks import ImageTrace, Prediction, TokenTracer

LAYOUT: Final = SheetLayout(columns=3, panel_pixels=168)
"""Small enough for a page of many: its width is that of four panels."""
_COLOURS: Final = 128
_LONGEST_NAME: Final = 100


@dataclass(frozen=True)
class PictureOptions:
    """What pictures show: at most `most` samples, after `blocks` (None: at most three of them).

    With `overlay` importance maps as well.
    """

    most: int
    blocks: tuple[int, ...] | None = None
    overlay: bool = False


@dataclass(frozen=True)
class Drawn:
    """A group's part of the index, its PNG files by name, and lines on what is not as it was."""

    group: PicturedGroup
    files: Mapping[str, bytes]
    warnings: tuple[str, ...]


def draw(
    store: Store,
    group: RunGroup,
    chosen: SelectedRuns,
    places: RunFiles,
    look: PictureOptions,
    taken: set[str],
) -> Drawn:
    """Draw the samples of a group on which the chosen runs disagree most.

    Names of files are unlike those `taken`, and are taken. Raises KeeprateError as `restore_runs`
    does, for a model whose patches are not known, blocks it has not, and samples that cannot be
    read.
    """
    found = disputed(store, group, chosen, look.most)
    again = restore_runs([each.run for each in chosen.runs.values()], places)
    check_blocks(look.blocks, again.source.backbone.depth)
    shown = _shown(again, chosen, found.samples) if found.samples else []
    names = class_names(again.source.loaded)
    files: dict[str, bytes] = {}
    samples, warnings = [], list(again.changes)
    for sample, picture in zip(found.samples, shown, strict=True):
        name = picture_name(sample.sample, taken)
        sheet = sheet_of(picture, look.blocks, overlay=look.overlay, layout=LAYOUT)
        files[name] = png(sheet, _COLOURS)
        samples.append(_pictured(sample, picture, chosen, names, name))
        warnings += _other_predictions(samples[-1])
    drawn = PicturedGroup(
        title=group.title,
        budget=chosen.budget,
        runs=chosen.ids,
        labels=tuple(chosen.runs),
        text=chosen.text,
        samples=tuple(samples),
    )
    return Drawn(drawn, files, tuple(warnings))


def joined(before: PictureIndex, drawn: Sequence[Drawn]) -> PictureIndex:
    """Return the index with the groups that were drawn in place of those of their titles."""
    new = [each.group for each in drawn]
    titles = {group.title for group in new}
    kept = [group for group in before.groups if group.title not in titles]
    return PictureIndex(groups=tuple(sorted([*kept, *new], key=lambda group: group.title)))


def _shown(
    again: RestoredRuns, chosen: SelectedRuns, samples: Sequence[DisagreedSample]
) -> list[ImageTrace]:
    picked = again.source.pick([each.sample for each in samples])
    plans = {label: again.plans[judged.id] for label, judged in chosen.runs.items()}
    camera = TokenTracer(again.source, plans)
    return [camera.trace(each) for each in picked]


def _pictured(
    sample: DisagreedSample,
    shown: ImageTrace,
    chosen: SelectedRuns,
    names: Sequence[str],
    file: str,
) -> Pictured:
    plain = sample.unpruned.prediction if sample.unpruned else None
    guesses = zip(chosen.ids, shown.tracks, sample.guesses, strict=True)
    return Pictured(
        id=sample.sample,
        label=sample.label,
        label_name=names[sample.label] if 0 <= sample.label < len(names) else "",
        different_percent=sample.different_percent,
        kl_spread_nats=sample.kl_spread_nats,
        unpruned=_guess("unpruned", shown.before, plain),
        predictions=tuple(
            _guess(run, track.prediction, guess.prediction) for run, track, guess in guesses
        ),
        file=file,
    )


def _guess(run: str, shown: Prediction, stored: int | None) -> PicturedGuess:
    return PicturedGuess(
        run=run,
        prediction=shown.index,
        name=shown.name,
        confidence=shown.confidence,
        stored=stored,
    )


def _other_predictions(sample: Pictured) -> list[str]:
    return [
        f"{sample.id}: {each.run} predicts class {each.prediction} in the picture, "
        f"class {each.stored} in its rows"
        for each in (sample.unpruned, *sample.predictions)
        if each.stored is not None and each.stored != each.prediction
    ]


def picture_name(sample: str, taken: set[str]) -> str:
    """A plain file name that tells of the sample, unlike those `taken`, and taken now."""
    plain = re.sub(r"[^\w.-]+", "-", sample, flags=re.ASCII).lstrip(".-")
    stem = Path(plain).stem[-_LONGEST_NAME:].lstrip(".-") or "sample"
    number, name = 1, f"{stem}.png"
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}.png"
    taken.add(name.lower())
    return name
