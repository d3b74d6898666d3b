"""A sheet of pictures: rows of panels under titles, each panel with a caption."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from unicodedata import normalize

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .colours import Colour, heat
from .patch_pictures import Pixels

ARROW: Final = "->"
"""Drawn as an arrow in any text of a sheet."""
_BLACK: Final[Colour] = (0, 0, 0)
_RED: Final[Colour] = (178, 58, 0)
_GREY: Final[Colour] = (90, 90, 90)
_TITLE, _TEXT = 19, 15
_GAP, _MARGIN = 8, 12
_LEAST_WIDTH: Final = 360
"""Pixels between the margins where panels need no more: room for the texts."""
_SCALE_SIZE: Final = (120, 10)
"""Width and height of the scale of colours."""


@dataclass(frozen=True)
class Panel:
    """A picture and its caption; without `pixels` the panel is empty."""

    pixels: Pixels | None
    caption: str


@dataclass(frozen=True)
class SheetRow:
    """Panels side by side under a title and a line of text, in red where it is a `warning`."""

    title: str
    text: str
    panels: tuple[Panel, ...]
    warning: bool = False


@dataclass(frozen=True)
class Sheet:
    """The content of one file. `notes` stand at the end, the scale of a heat map below them."""

    title: str
    rows: tuple[SheetRow, ...]
    notes: tuple[str, ...] = ()
    scale: str | None = None


@dataclass(frozen=True)
class _Text:
    """A line of text at a position in pixels; a text wider than `room` pixels is cut off."""

    x: int
    y: int
    text: str
    size: int
    colour: Colour
    room: int


@dataclass(frozen=True)
class _Picture:
    x: int
    y: int
    pixels: Pixels


def png(sheet: Sheet, colours: int | None = None) -> bytes:
    """Return the sheet as the content of a PNG file, reduced to `colours` colours if given."""
    buffer = io.BytesIO()
    picture = draw_sheet(sheet)
    if colours is not None:
        # without dithering flat colours stay flat, which PNG stores in few bytes
        picture = picture.quantize(colours, dither=Image.Dither.NONE)
    picture.save(buffer, "PNG", optimize=colours is not None)
    return buffer.getvalue()


def draw_sheet(sheet: Sheet) -> Image.Image:
    """Return the sheet as an image on white, as large as its panels need."""
    width, height = _panel_size(sheet)
    columns = max(len(row.panels) for row in sheet.rows)
    inside = max(_LEAST_WIDTH, columns * (width + _GAP) - _GAP)
    # laid out before anything is drawn: the height of the image depends on it
    parts = list(_lay_out(sheet, width, height, inside))
    bottom = max(_bottom_edge(part) for part in parts)
    picture = Image.new("RGB", (inside + 2 * _MARGIN, bottom + _MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    for part in parts:
        if isinstance(part, _Picture):
            picture.paste(Image.fromarray(part.pixels), (part.x, part.y))
        else:
            _draw_text(draw, part)
    return picture


def _panel_size(sheet: Sheet) -> tuple[int, int]:
    shapes = [
        panel.pixels.shape for row in sheet.rows for panel in row.panels if panel.pixels is not None
    ]
    return max(shape[1] for shape in shapes), max(shape[0] for shape in shapes)


def _lay_out(sheet: Sheet, width: int, height: int, inside: int) -> Iterator[_Text | _Picture]:
    """Yield every text and picture with its position, from the top down."""
    y = _MARGIN
    yield _Text(_MARGIN, y, sheet.title, _TITLE, _BLACK, inside)
    y += _line_height(_TITLE) + _GAP
    for row in sheet.rows:
        yield _Text(_MARGIN, y, row.title, _TEXT + 2, _BLACK, inside)
        y += _line_height(_TEXT + 2)
        if row.text:
            yield _Text(_MARGIN, y, row.text, _TEXT, _RED if row.warning else _GREY, inside)
            y += _line_height(_TEXT)
        yield from _lay_out_panels(row, y, width, height)
        y += height + _line_height(_TEXT) + 2 * _GAP
    for note in sheet.notes:
        yield _Text(_MARGIN, y, note, _TEXT, _GREY, inside)
        y += _line_height(_TEXT)
    if sheet.scale is not None:
        yield _Picture(_MARGIN, y + 4, _colour_scale())
        x = _MARGIN + _SCALE_SIZE[0] + _GAP
        yield _Text(x, y, sheet.scale, _TEXT, _GREY, inside - _SCALE_SIZE[0] - _GAP)


def _lay_out_panels(row: SheetRow, y: int, width: int, height: int) -> Iterator[_Text | _Picture]:
    for number, panel in enumerate(row.panels):
        x = _MARGIN + number * (width + _GAP)
        if panel.pixels is not None:
            yield _Picture(x, y + 3, panel.pixels)
        yield _Text(x, y + height + 5, panel.caption, _TEXT, _BLACK, width)


def _bottom_edge(part: _Text | _Picture) -> int:
    height = _line_height(part.size) if isinstance(part, _Text) else part.pixels.shape[0]
    return part.y + height


def _colour_scale() -> Pixels:
    """Return the colours of a heat map, from the least to the most important."""
    return np.repeat(heat(np.linspace(0, 1, _SCALE_SIZE[0]))[None], _SCALE_SIZE[1], axis=0)


def _draw_text(draw: ImageDraw.ImageDraw, part: _Text) -> None:
    font, x = _font(part.size), float(part.x)
    for number, piece in enumerate(_fit(part).split(ARROW)):
        if number:
            x += _draw_arrow(draw, x, part)
        draw.text((x, part.y), piece, fill=part.colour, font=font)
        x += font.getlength(piece)


def _draw_arrow(draw: ImageDraw.ImageDraw, x: float, part: _Text) -> float:
    """Draw an arrow, which the built-in font does not have, and return its width in pixels."""
    length, tip, y = float(part.size), part.size // 4, part.y + part.size * 5 // 8
    end = x + length
    draw.line([(x, y), (end - 1, y)], fill=part.colour, width=1)
    draw.polygon([(end, y), (end - tip, y - tip), (end - tip, y + tip)], fill=part.colour)
    return length + tip


def _fit(part: _Text) -> str:
    """Return the text without letters that the font lacks; dots replace what has no room."""
    # NFKD parts a letter from its accent, so that "é" becomes "e" and not nothing
    text = normalize("NFKD", part.text).encode("ascii", "ignore").decode()
    if _text_width(text, part.size) <= part.room:
        return text
    while text and _text_width(f"{text}...", part.size) > part.room:
        text = text[:-1]
    return f"{text.rstrip()}..."


def _text_width(text: str, size: int) -> float:
    arrows = text.count(ARROW)
    return float(_font(size).getlength(text.replace(ARROW, ""))) + arrows * (size + size // 4)


def _line_height(size: int) -> int:
    """Return the height of a line of text in pixels."""
    return size + size // 3


@cache
def _font(size: int) -> Any:
    """Return the font that comes with Pillow; its type differs between versions."""
    return ImageFont.load_default(size)
