"""Pictures of the samples on which finished runs disagree most, and how alike the runs are."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..analysis.disagreement import DisagreedSample
from ..analysis.run_selection import SelectedRuns
from ..analysis.runs import RunGroup
from ..analysis.sections.disagreement import disputed
from ..results.picture_index import Pictured, PicturedGroup, PicturedGuess, PictureIndex
from ..results.store import Store
from .alike_runs import MOST_IMAGES, how_alike, spread
from .class_names import class_names
from .end_pictures import described_end, end_owners, end_pictures
from .image_selection import check_blocks
from .restored_runs import RunFiles, restore_runs
from .sheet import png
from .token_sheet import SheetLayout, sheet_of
from .token_tracks import ImageTrace, Prediction, TokenTracer

LAYOUT: Final = SheetLayout(columns=3, panel_pixels=168)
"""Small enough for a page of many pictures: each is as wide as four panels."""
# a PNG of a palette is a fraction of the size, and a report holds all of them
_PNG_COLOURS: Final = 128
_LONGEST_NAME: Final = 100
OPENING_SAMPLES: Final = 4
"""Samples that the HTML report opens with: what each run leaves of them is drawn as well."""


@dataclass(frozen=True)
class PictureOptions:
    """What pictures show: at most `most` samples, after `blocks` (None: at most three blocks).

    With `overlay` they show importance maps as well. How alike the runs are is found out on at
    most `alike` images.
    """

    most: int
    blocks: tuple[int, ...] | None = None
    overlay: bool = False
    alike: int = MOST_IMAGES


@dataclass(frozen=True)
class Drawn:
    """A group's part of the index, its PNG files by name, and a warning for each difference."""

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

    The names of the files differ from those in `taken` and are added to it. Raises KeeprateError
    as `restore_runs` does, for a model whose patches are not known, for blocks that it does not
    have, and for samples that cannot be read.
    """
    disputes = disputed(store, group, chosen, look.most)
    restored = restore_runs([scored_run.run for scored_run in chosen.runs.values()], places)
    check_blocks(look.blocks, restored.source.backbone.depth)
    disputed_ids = [sample.sample for sample in disputes.samples]
    spread_ids = spread(store.rows(chosen.ids[0], ("sample",))["sample"].to_list(), look.alike)
    images = {each.id: each for each in restored.source.pick([*disputed_ids, *spread_ids])}
    plans = {label: restored.plans[scored_run.id] for label, scored_run in chosen.runs.items()}
    tracer = TokenTracer(restored.source, plans)
    compared = [images[name] for name in spread_ids]
    names = class_names(restored.source.loaded)
    files: dict[str, bytes] = {}
    samples, warnings = [], list(restored.changes)
    for number, sample in enumerate(disputes.samples):
        trace = tracer.trace(images[sample.sample])
        name = picture_name(sample.sample, taken)
        sheet = sheet_of(trace, look.blocks, overlay=look.overlay, layout=LAYOUT)
        files[name] = png(sheet, _PNG_COLOURS)
        described = _describe_sample(sample, trace, chosen, names, name)
        if number < OPENING_SAMPLES:
            described, ends = _with_ends(described, trace, taken)
            files |= ends
        samples.append(described)
        # the same runs can predict otherwise on another processor or in less than 32 bits
        warnings += _describe_differences(samples[-1])
    drawn = PicturedGroup(
        title=group.title,
        budget=chosen.budget,
        runs=chosen.ids,
        labels=tuple(chosen.runs),
        text=chosen.text,
        samples=tuple(samples),
        alike=how_alike(chosen.ids, tracer.reductions(compared)) if compared else None,
    )
    return Drawn(drawn, files, tuple(warnings))


def names_of_others(index: PictureIndex, titles: Collection[str]) -> set[str]:
    """Return the file names, in lower case, of the groups that have none of the titles.

    They stay when the groups of these titles are drawn again.
    """
    others = [group for group in index.groups if group.title not in titles]
    return {file.lower() for group in others for file in group.files()}


def joined(before: PictureIndex, drawn: Sequence[Drawn]) -> PictureIndex:
    """Return the index in which the drawn groups replace the groups of the same titles."""
    new = [drawing.group for drawing in drawn]
    titles = {group.title for group in new}
    kept = [group for group in before.groups if group.title not in titles]
    return PictureIndex(groups=tuple(sorted([*kept, *new], key=lambda group: group.title)))


def _describe_sample(
    sample: DisagreedSample,
    trace: ImageTrace,
    chosen: SelectedRuns,
    names: Sequence[str],
    file: str,
) -> Pictured:
    stored_unpruned = sample.unpruned.prediction if sample.unpruned else None
    guesses = zip(chosen.ids, trace.tracks, sample.guesses, strict=True)
    return Pictured(
        id=sample.sample,
        label=sample.label,
        label_name=names[sample.label] if 0 <= sample.label < len(names) else "",
        different_percent=sample.different_percent,
        kl_spread_nats=sample.kl_spread_nats,
        unpruned=_describe_guess("unpruned", trace.before, stored_unpruned),
        predictions=tuple(
            _describe_guess(run, track.prediction, guess.prediction)
            for run, track, guess in guesses
        ),
        file=file,
    )


def _with_ends(
    sample: Pictured, trace: ImageTrace, taken: set[str]
) -> tuple[Pictured, dict[str, bytes]]:
    """Return the sample with what each run leaves of it in the end, and the files of that."""
    suffix, contents = end_pictures(trace)
    stem = sample.file.removesuffix(".png")
    names = (f"{stem}-{number}{suffix}" for number in range(len(contents)))
    files = [picture_name(name, taken, suffix) for name in names]
    predictions = [
        guess.model_copy(update={"end": described_end(end_owners(trace, track), file)})
        for guess, track, file in zip(sample.predictions, trace.tracks, files[1:], strict=True)
    ]
    changes = {"input_file": files[0], "predictions": tuple(predictions)}
    return sample.model_copy(update=changes), dict(zip(files, contents, strict=True))


def _describe_guess(run_id: str, prediction: Prediction, stored: int | None) -> PicturedGuess:
    return PicturedGuess(
        run=run_id,
        prediction=prediction.index,
        name=prediction.name,
        confidence=prediction.confidence,
        stored=stored,
    )


def _describe_differences(sample: Pictured) -> list[str]:
    return [
        f"{sample.id}: {guess.run} predicts class {guess.prediction} in the picture, "
        f"class {guess.stored} in its rows"
        for guess in (sample.unpruned, *sample.predictions)
        if guess.stored is not None and guess.stored != guess.prediction
    ]


def picture_name(sample: str, taken: set[str], suffix: str = ".png") -> str:
    """Return a plain file name after the sample that is not in `taken`, and add it to `taken`."""
    # ASCII alone and no leading dot: any file system and any URL takes such a name
    plain = re.sub(r"[^\w.-]+", "-", sample, flags=re.ASCII).lstrip(".-")
    stem = Path(plain).stem[-_LONGEST_NAME:].lstrip(".-") or "sample"
    # compared in lower case: some file systems do not tell "A.png" from "a.png"
    number, name = 1, f"{stem}{suffix}"
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}{suffix}"
    taken.add(name.lower())
    return name
