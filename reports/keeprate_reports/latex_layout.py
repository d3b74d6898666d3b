"""Fit the columns of a table into the width of a page: by letter size, wrapping, and parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keeprate.analysis.run_table import Column

from .latex_text import CELL_EM, breakable, escape, width_em

TEXT_WIDTH: Final = 341.0
"""Width of a table at most, in points: an article of 10 points has 345 to a line."""

_MOST_LETTERS: Final = 60
"""Most letters of a heading; of a longer one only the beginning is set."""
_LEAST_EM: Final = 7.0
"""Least width that a column of words is wrapped to, in em."""
_BOLD: Final = 1.16
"""The factor by which bold letters are wider; the first column may be bold."""
_MINUS_EM: Final = 0.43
"""The width of a minus less that of a hyphen, in em."""


@dataclass(frozen=True)
class Size:
    """Letters of `points`, with an em of `em_points`; two columns are `gap` points apart."""

    points: float
    em_points: float
    gap: float


SIZES: Final = (Size(9, 9.25, 8), Size(8, 8.5, 6))
"""The best size first. Small Computer Modern letters are wider than their size says."""


@dataclass(frozen=True)
class Placed:
    """A column and its width in points; `wrapped` if its texts need more than one line."""

    column: Column
    width: float
    wrapped: bool

    @property
    def form(self) -> str:
        """The letters for this column in the argument of a tabular."""
        if self.wrapped:
            return rf">{{\raggedright\arraybackslash}}p{{{self.width:.0f}pt}}"
        return "r" if self.column.figures else "l"


@dataclass(frozen=True)
class PageLayout:
    """A table in one or more parts with all its rows; each part begins with the first column."""

    size: Size
    parts: tuple[tuple[Placed, ...], ...]

    @property
    def lines(self) -> int:
        """The most lines of text that all parts may have, with their headings."""
        return sum(_lines(part, self.size) for part in self.parts)


@dataclass(frozen=True)
class _Wide:
    """A column, the width in points of its texts on one line each, and its least width."""

    column: Column
    natural: float
    least: float

    @property
    def lack(self) -> float:
        return self.natural - self.least


def layout(columns: Sequence[Column], bold: bool) -> PageLayout:
    """Choose the largest letters in which the columns fit unwrapped; else wrap them, or use parts.

    `bold`: letters of the first column may be bold.
    """
    for size in SIZES:
        wide = _wide(columns, size, bold)
        if _excess([column.natural for column in wide], size) <= 0:
            return PageLayout(size, (_placed(wide, size),))
    return PageLayout(size, tuple(_placed(part, size) for part in _parts(wide, size)))


def heading(placed: Placed, size: Size) -> str:
    """Return a heading in LaTeX, in several lines where it is wider than the column."""
    text = placed.column.heading
    if len(text) > _MOST_LETTERS:
        text = f"{text[:_MOST_LETTERS]} ..."
    if placed.wrapped:
        return breakable(text, CELL_EM)
    room = max(placed.width, _heading_width(placed.column, size))
    lines = list(_broken(text, room / size.em_points))
    if len(lines) < 2:
        return escape(text)
    side = "r" if placed.column.figures else "l"
    inside = r" \\ ".join(map(escape, lines))
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{inside}\end{{tabular}}"


def _excess(widths: Sequence[float], size: Size) -> float:
    """Return the points by which columns of these widths are too wide for the page."""
    return sum(widths) + size.gap * (len(widths) - 1) - TEXT_WIDTH


def _wide(columns: Sequence[Column], size: Size, bold: bool) -> list[_Wide]:
    measured = []
    for number, column in enumerate(columns):
        texts = max((_width_em(text, column) for text in column.texts), default=0.0)
        texts *= _BOLD if bold and number == 0 else 1
        natural = max(texts * size.em_points, _heading_width(column, size))
        # figures are never wrapped: a number on two lines reads as two numbers
        least = natural if column.figures else min(natural, _LEAST_EM * size.em_points)
        measured.append(_Wide(column, natural, least))
    return measured


def _width_em(text: str, column: Column) -> float:
    """Return the width of a text; in figures a hyphen is set as a minus, which is wider."""
    return width_em(text) + (_MINUS_EM * text.count("-") if column.figures else 0)


def _heading_width(column: Column, size: Size) -> float:
    """Return the points of the heading's longest word, up to the width at which it is broken."""
    return min(max(map(width_em, column.heading.split()), default=0), 6.0) * size.em_points


def _parts(columns: Sequence[_Wide], size: Size) -> Iterator[list[_Wide]]:
    """Split the columns into parts that fit at their least width; the first column is in each."""
    first, *others = columns
    part = [first]
    for column in others:
        if len(part) > 1 and _excess([candidate.least for candidate in [*part, column]], size) > 0:
            yield part
            part = [first]
        part.append(column)
    yield part


def _placed(columns: Sequence[_Wide], size: Size) -> tuple[Placed, ...]:
    """Return the columns at their natural widths; those of words are narrower without room."""
    widths = [column.least for column in columns]
    words = [position for position, column in enumerate(columns) if column.lack > 0]
    # the column that lacks least goes first: what it leaves of its share goes to the others
    room = max(0.0, -_excess(widths, size))
    for index, position in enumerate(sorted(words, key=lambda position: columns[position].lack)):
        extra = min(columns[position].lack, room / (len(words) - index))
        widths[position] += extra
        room -= extra
    return tuple(
        Placed(column.column, width, width < column.natural)
        for column, width in zip(columns, widths, strict=True)
    )


def _lines(part: Sequence[Placed], size: Size) -> int:
    rows = zip(*(placed.column.texts for placed in part), strict=True)
    texts = [max(map(_height, row, part, [size] * len(part))) for row in rows]
    return sum(texts) + 3  # headings and rules


def _height(text: str, placed: Placed, size: Size) -> int:
    if not placed.wrapped:
        return 1
    # 1.15: lines end at words, so that some of each line stays empty
    return max(1, math.ceil(1.15 * width_em(text) * size.em_points / max(placed.width, 1.0)))


def _broken(text: str, room: float) -> Iterator[str]:
    """Yield lines of at most `room` em, broken between words, or within a word that is longer."""
    line = ""
    for word in text.split():
        if line and width_em(f"{line} {word}") > room:
            yield line
            line = ""
        line = f"{line} {word}".lstrip()
        while width_em(line) > room:
            cut = next(n for n in range(1, len(line) + 1) if width_em(line[: n + 1]) > room)
            yield line[:cut]
            line = line[cut:]
    if line:
        yield line
