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
"""Blocks shown where none are named."""
PANEL_PIXELS: Final = 224
_DROPPED: Final = "Dimmed: dropped."
_MERGED: Final = "Outlined in one colour: merged into one token."
_RANK: Final = "rank of importance, from the least to the most important patch"


@dataclass(frozen=True)
class SheetLayout:
    """How many blocks are shown where none are named, and how many pixels wide a panel is."""

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

    The columns are the image and its state after each of `blocks`: by default those where any
    method acts, at most six of them, evenly spread, the last among them. With `overlay` a second
    row for every method that has one shows its importance map at each of its stages. Only a
    `layout` makes images smaller than they are.
    """
    most = (layout or SheetLayout()).columns
    columns = chosen_blocks(shown, most) if blocks is None else sorted(set(blocks))
    pixels = _sized(shown.crop, layout)
    rows: list[SheetRow] = []
    for track in shown.tracks:
        rows.append(_survivors(shown, track, columns, pixels))
        if overlay and any(moment.importance is not None for moment in track.moments):
            rows.append(_importance(track, columns, pixels))
    return Sheet(_title(shown), tuple(rows), _notes(shown), _RANK if overlay else None)


def _sized(crop: Pixels, layout: SheetLayout | None) -> Pixels:
    side = (layout or SheetLayout()).panel_pixels
    longer = max(crop.shape[:2])
    if layout is None or longer <= side:
        return enlarged(crop, side)
    height, width = (max(1, round(length * side / longer)) for length in crop.shape[:2])
    smaller = Image.fromarray(crop).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(smaller)


def chosen_blocks(shown: ImageTrace, most: int = MOST_COLUMNS) -> list[int]:
    """Return the blocks where any method acts, at most `most`, evenly spread, the last always."""
    acting = {moment.block for track in shown.tracks for moment in track.moments}
    blocks = sorted(acting)
    number = min(len(blocks), most)
    return [blocks[(place + 1) * len(blocks) // number - 1] for place in range(number)]


def _title(shown: ImageTrace) -> str:
    label = "" if shown.label is None else f", labelled {shown.label}"
    return f"{shown.title}{label}; unpruned: {_spelled(shown.before)}"


def _spelled(prediction: Prediction) -> str:
    return f"{prediction.name} ({prediction.confidence:.0%})"


def _survivors(
    shown: ImageTrace, track: MethodTrace, columns: Sequence[int], pixels: Pixels
) -> SheetRow:
    rows, across = shown.grid
    every = np.arange(rows * across).reshape(rows, across)
    panels = [Panel(pixels, f"input: {every.size} patch tokens")]
    for block in columns:
        owners = owners_after(track, block, every)
        caption = f"after block {block}: {tokens_left(owners)}"
        panels.append(Panel(survivors_picture(pixels, owners), caption))
    before, after = shown.before, track.prediction
    change = f"{_spelled(before)} {ARROW} {_spelled(after)}"
    text = f"{change}; {track.macs / 1e9:.3g} GMACs, {track.macs_share:.0%} of the unpruned model's"
    return SheetRow(track.label, text, tuple(panels), warning=before.name != after.name)


def _importance(track: MethodTrace, columns: Sequence[int], pixels: Pixels) -> SheetRow:
    panels, before = [Panel(None, "")], -1
    for block in columns:
        panels.append(_importance_panel(track, range(before + 1, block + 1), pixels))
        before = block
    return SheetRow(f"{track.label}: importance", "", tuple(panels))


def _importance_panel(track: MethodTrace, blocks: range, pixels: Pixels) -> Panel:
    """Return the map of the last stage at one of `blocks`, an empty panel if there is none."""
    maps = {moment.block: moment.importance for moment in track.moments if moment.block in blocks}
    last = max(maps, default=None)
    importance = None if last is None else maps[last]
    if importance is None:
        return Panel(None, "")
    return Panel(importance_picture(pixels, importance), f"seen at block {last}")


def owners_after(track: MethodTrace, block: int, every: Owners) -> Owners:
    """Return the owners of patches after a block; `every`, each its own, before the first stage."""
    past = [moment.owners for moment in track.moments if moment.block <= block]
    return past[-1] if past else every


def tokens_left(owners: Owners) -> int:
    """Return how many tokens patches live in."""
    return int(np.unique(owners[owners >= 0]).size)


def _notes(shown: ImageTrace) -> tuple[str, ...]:
    """Return the legend, of what there is to be seen alone."""
    last = [moment.owners for track in shown.tracks for moment in track.moments]
    dropped = any((owners < 0).any() for owners in last)
    merged = any(merged_groups(owners) for owners in last)
    words = [_DROPPED] * dropped + [_MERGED] * merged
    return (" ".join(words),) if words else ()


def maps_sheet(
    picked: SelectedImage, blocks: Sequence[BlockFound], iterations: Sequence[int]
) -> Sheet:
    """Return the scores of an image's patches after each number of iterations, block by block."""
    pixels = enlarged(picked.crop, PANEL_PIXELS)
    rows = []
    for found in blocks:
        panels = [Panel(pixels, f"{found.heads[0].patches} patch tokens")]
        for number, importance in zip(iterations, found.maps, strict=True):
            times = "iteration" if number == 1 else "iterations"
            panels.append(Panel(importance_picture(pixels, importance), f"{number} {times}"))
        rows.append(SheetRow(f"block {found.heads[0].block}", "", tuple(panels)))
    return Sheet(picked.title, tuple(rows), scale=_RANK)
