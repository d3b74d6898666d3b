"""The pictures that the report of a comparison opens with, drawn when its runs are finished."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from ..analysis.run_selection import SelectedRuns, choose
from ..analysis.runs import RunGroup
from ..analysis.series import arrange
from ..analysis.write import runs_in
from ..errors import KeeprateError
from ..request import Request
from ..results.picture_index import FOLDER, PicturedGroup, picture_path, read_index, write_index
from ..results.store import Store
from .alike_runs import MOST_IMAGES
from .disagreement_pictures import (
    OPENING_SAMPLES,
    Drawn,
    PictureOptions,
    draw,
    joined,
    names_of_others,
)
from .restored_runs import RunFiles

MOST_MACS: Final = 1e12
"""Most multiply-accumulates that the pictures may take: seconds, also on a small processor."""


def draw_opening(
    request: Request, folder: Path, finished: Collection[str], reused: Collection[str]
) -> Drawn | None:
    """Draw the images on which the runs of a comparison differ most, into the store `folder`.

    `finished` are the ids of the runs that were computed just now, `reused` those that were there.
    Returns None where there is nothing to draw: of texts, where no cost has two series, and where
    nothing was computed and the pictures are there. Raises KeeprateError as `draw` does, and for
    pictures that would take more than `MOST_MACS`.
    """
    ids = {*finished, *reused}
    groups = runs_in(folder).groups
    group = next((group for group in groups if any(run.id in ids for run in group.runs)), None)
    chosen = None if group is None else choose(arrange(group, []))
    if group is None or chosen is None or group.runs[0].run.backbone.samples == "texts":
        return None
    index, _ = read_index(folder / FOLDER)
    before = index.of_group([run.id for run in group.runs])
    if before is not None and not finished and _is_whole(before, folder):
        return None
    alike = min(MOST_IMAGES, _affordable_images(group, chosen, folder) - OPENING_SAMPLES)
    named_data = request.data if request.data.name else None
    places = RunFiles(request.model.name, request.model.weights, named_data)
    taken = names_of_others(index, [group.title])
    look = PictureOptions(OPENING_SAMPLES, alike=alike)
    drawn = draw(Store(folder), group, chosen, places, look, taken)
    write_index(folder / FOLDER, joined(index, [drawn]), dict(drawn.files))
    return drawn


def _is_whole(group: PicturedGroup, folder: Path) -> bool:
    """Tell whether a report can open with the pictures of a group."""
    shown = all(sample.input_file for sample in group.samples[:OPENING_SAMPLES])
    return shown and all(picture_path(folder, file).is_file() for file in group.files())


def _affordable_images(group: RunGroup, chosen: SelectedRuns, folder: Path) -> int:
    """Return how many images `MOST_MACS` are enough for; KeeprateError for too few to draw."""
    unpruned = group.runs[0].result.measured.macs.unpruned
    macs = unpruned + sum(run.macs for run in chosen.runs.values())
    if OPENING_SAMPLES * macs > MOST_MACS:
        raise KeeprateError(
            f"{OPENING_SAMPLES} images would take {OPENING_SAMPLES * macs / 1e12:.1f} TMACs, more "
            f"than {MOST_MACS / 1e12:.0f}. `keeprate show --disagreeing {folder}` draws them."
        )
    return int(MOST_MACS // macs)
