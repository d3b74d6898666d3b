"""A sheet of what methods do to one image: a row for each method, a column for each block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from .colours import Owners, merged_groups
from .convergence import BlockFound
from .image_selection import SelectedImage
from .patch_pictures import Pixels, enlarged, importance_picture, survivors_picture
from .sheet import ARROW, Panel, Sheet, SheetRow
from .token_tracks import ImageTrace, MethodTrace, Prediction

MOST_COLUMNS: Final = 6
"""How many blocks a sheet shows if none are named."""
PANEL_PIXELS: Final = 224
_DROPPED: Final = "Dimmed: dropped."
_ASIDE: Final = "Dimmed: set aside, to come back."
_MERGED: Final = "Outlined in one colour: merged into one token."
_RANK: Final = "rank of importance, from the least to the most important patch"


@dataclass(frozen=True)
class SheetLayout:
    """How many blocks a sheet shows if none are named, and the width of a panel in pixels."""

    columns: int = MOST_COLUMNS
    panel_pixels: int = PANEL_PIXELS


def sheet_of(
    shown: ImageTrace,
    blocks: Sequence[int] | None = None,
    *,
    overlay: bool = False,
    layout: SheetLayout | None = None,
) -> Sheet:
    """Return the sheet of one image.

    The columns are the image and its state after each of `blocks`. By default these are at most six
    of the blocks where any method acts, evenly spread and with the last one. With `overlay`, every
    method that has importance maps gets a second row with its map at each stage. Images are made
    smaller only if a `layout` is given.
    """
    max_columns = (layout or SheetLayout()).columns
    columns = chosen_blocks(shown, max_columns) if blocks is None else sorted(set(blocks))
    pixels = enlarged(shown.crop, PANEL_PIXELS) if layout is None else resized(shown.crop, layout)
    rows: list[SheetRow] = []
    for method_trace in shown.tracks:
        rows.append(_survivors_row(shown, method_trace, columns, pixels))
        if overlay and any(stage.importance is not None for stage in method_trace.moments):
            rows.append(_importance_row(method_trace, columns, pixels))
    return Sheet(_title(shown), tuple(rows), _legend(shown), _RANK if overlay else None)


def resized(crop: Pixels, layout: SheetLayout) -> Pixels:
    """Return `crop` enlarged by a whole number, or made smaller, to about the width of a panel."""
    side = layout.panel_pixels
    longer = max(crop.shape[:2])
    if longer <= side:
        return enlarged(crop, side)
    height, width = (max(1, round(length * side / longer)) for length in crop.shape[:2])
    # a filter, not fewer of the pixels: those left out would break thin lines
    smaller = Image.fromarray(crop).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(smaller)


def chosen_blocks(shown: ImageTrace, most: int = MOST_COLUMNS) -> list[int]:
    """Return at most `most` of the blocks where methods act, evenly spread and with the last."""
    acting_blocks = {stage.block for method_trace in shown.tracks for stage in method_trace.moments}
    blocks = sorted(acting_blocks)
    number = min(len(blocks), most)
    return [blocks[(column + 1) * len(blocks) // number - 1] for column in range(number)]


def _title(trace: ImageTrace) -> str:
    label = "" if trace.label is None else f", labelled {trace.label}"
    return f"{trace.title}{label}; unpruned: {_describe_prediction(trace.before)}"


def _describe_prediction(prediction: Prediction) -> str:
    return f"{prediction.name} ({prediction.confidence:.0%})"


def _survivors_row(
    trace: ImageTrace, method_trace: MethodTrace, columns: Sequence[int], pixels: Pixels
) -> SheetRow:
    grid_rows, grid_columns = method_trace.grid or trace.grid
    own_tokens = np.arange(grid_rows * grid_columns).reshape(grid_rows, grid_columns)
    panels = [Panel(pixels, f"input: {own_tokens.size} patch tokens")]
    for block in columns:
        owners = owners_after(method_trace, block, own_tokens)
        caption = f"after block {block}: {tokens_left(owners)}"
        panels.append(Panel(survivors_picture(pixels, owners), caption))
    before, after = trace.before, method_trace.prediction
    change = f"{_describe_prediction(before)} {ARROW} {_describe_prediction(after)}"
    text = (
        f"{change}; {method_trace.macs / 1e9:.3g} GMACs, {method_trace.macs_share:.0%} of the "
        "unpruned model's"
    )
    return SheetRow(method_trace.label, text, tuple(panels), warning=before.name != after.name)


def _importance_row(method_trace: MethodTrace, columns: Sequence[int], pixels: Pixels) -> SheetRow:
    panels, last_block = [Panel(None, "")], -1
    for block in columns:
        # a map stands in the column that shows its effect: the first at or after its block
        panels.append(_importance_panel(method_trace, range(last_block + 1, block + 1), pixels))
        last_block = block
    return SheetRow(f"{method_trace.label}: importance", "", tuple(panels))


def _importance_panel(method_trace: MethodTrace, blocks: range, pixels: Pixels) -> Panel:
    """Return the map of the last stage in `blocks`; an empty panel if there is no map."""
    stages = [stage for stage in method_trace.moments if not stage.came_back]
    maps = {stage.block: stage.importance for stage in stages if stage.block in blocks}
    last_block = max(maps, default=None)
    importance = None if last_block is None else maps[last_block]
    if importance is None:
        return Panel(None, "")
    return Panel(importance_picture(pixels, importance), f"seen at block {last_block}")


def owners_after(track: MethodTrace, block: int, every: Owners) -> Owners:
    """Return the owners of the patches after a block; before the first stage these are `every`.

    Where a stage is at the block, they are those after it, before any tokens come back.
    """
    before = [stage for stage in track.moments if stage.block <= block]
    acting = [stage for stage in before if stage.block == block and not stage.came_back]
    return (acting or before)[-1].owners if before else every


def tokens_left(owners: Owners) -> int:
    """Return the number of tokens that patches live in."""
    return int(np.unique(owners[owners >= 0]).size)


def _legend(trace: ImageTrace) -> tuple[str, ...]:
    """Return the legend; it explains only what the pictures show."""
    stage_owners = [stage.owners for method_trace in trace.tracks for stage in method_trace.moments]
    dropped = any((owners == -1).any() for owners in stage_owners)
    aside = any((owners < -1).any() for owners in stage_owners)
    merged = any(merged_groups(owners) for owners in stage_owners)
    sentences = [_DROPPED] * dropped + [_ASIDE] * aside + [_MERGED] * merged
    return (" ".join(sentences),) if sentences else ()


def maps_sheet(
    picked: SelectedImage, blocks: Sequence[BlockFound], iterations: Sequence[int]
) -> Sheet:
    """Return a sheet of an image's scores after each number of iterations, a row for each block."""
    pixels = enlarged(picked.crop, PANEL_PIXELS)
    rows = []
    for block_result in blocks:
        panels = [Panel(pixels, f"{block_result.heads[0].patches} patch tokens")]
        for number, importance in zip(iterations, block_result.maps, strict=True):
            unit = "iteration" if number == 1 else "iterations"
            panels.append(Panel(importance_picture(pixels, importance), f"{number} {unit}"))
        rows.append(SheetRow(f"block {block_result.heads[0].block}", "", tuple(panels)))
    return Sheet(picked.title, tuple(rows), scale=_RANK)
