"""How the columns of a table fit the width of a page: letters' size, wrapping, and parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keeprate.analysis.run_table import Column

from .latex_text import CELL_EM, breakable, escape, width_em

TEXT_WIDTH: Final = 341.0
"""Points that a table may be wide: an article of 10 points has 345 to a line."""

_MOST_LETTERS: Final = 60
"""Letters of a heading; of a longer one the beginning."""
_LEAST_EM: Final = 7.0
"""What a column of words is wrapped to at most, in em."""
_BOLD: Final = 1.16
"""How much wider bold letters are; the first column may be bold."""
_MINUS_EM: Final = 0.43
"""How much wider a minus is than a hyphen."""


@dataclass(frozen=True)
class Size:
    """Letters of `points`, which are `em_points` to an em; `gap` points between two columns."""

    points: float
    em_points: float
    gap: float


SIZES: Final = (Size(9, 9.25, 8), Size(8, 8.5, 6))
"""From the one liked best. Small Computer Modern letters are wider than their size says."""


@dataclass(frozen=True)
class Placed:
    """A column and its width in points; `wrapped` where its texts need more than one line."""

    column: Column
    width: float
    wrapped: bool

    @property
    def form(self) -> str:
        """The column in the argument of a tabular."""
        if self.wrapped:
            return rf">{{\raggedright\arraybackslash}}p{{{self.width:.0f}pt}}"
        return "r" if self.column.figures else "l"


@dataclass(frozen=True)
class PageLayout:
    """A table in one or more parts of as many rows, each with the first column in front."""

    size: Size
    parts: tuple[tuple[Placed, ...], ...]

    @property
    def lines(self) -> int:
        """At most how many lines of text all parts have, their headings included."""
        return sum(_lines(part, self.size) for part in self.parts)


@dataclass(frozen=True)
class _Wide:
    """A column, the points its texts need on one line each, and those it must have."""

    column: Column
    natural: float
    least: float

    @property
    def lack(self) -> float:
        return self.natural - self.least


def layout(columns: Sequence[Column], bold: bool) -> PageLayout:
    """The largest letters in which the columns fit unwrapped; else wrapped; else in parts.

    `bold`: letters of the first column may be bold.
    """
    for size in SIZES:
        wide = _wide(columns, size, bold)
        if _excess([each.natural for each in wide], size) <= 0:
            return PageLayout(size, (_placed(wide, size),))
    return PageLayout(size, tuple(_placed(part, size) for part in _parts(wide, size)))


def heading(placed: Placed, size: Size) -> str:
    """A heading, in several lines where it is wider than the column."""
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
    """Points by which columns of these widths are too wide for the page."""
    return sum(widths) + size.gap * (len(widths) - 1) - TEXT_WIDTH


def _wide(columns: Sequence[Column], size: Size, bold: bool) -> list[_Wide]:
    found = []
    for number, each in enumerate(columns):
        texts = max((_width_em(text, each) for text in each.texts), default=0.0)
        texts *= _BOLD if bold and number == 0 else 1
        natural = max(texts * size.em_points, _heading_width(each, size))
        least = natural if each.figures else min(natural, _LEAST_EM * size.em_points)
        found.append(_Wide(each, natural, least))
    return found


def _width_em(text: str, column: Column) -> float:
    """With a minus where figures have one, which is wider than a hyphen."""
    return width_em(text) + (_MINUS_EM * text.count("-") if column.figures else 0)


def _heading_width(column: Column, size: Size) -> float:
    """Points for the longest word of the heading, as far as it is not broken itself."""
    return min(max(map(width_em, column.heading.split()), default=0), 6.0) * size.em_points


def _parts(columns: Sequence[_Wide], size: Size) -> Iterator[list[_Wide]]:
    """As many columns as fit at their least width, again and again, the first in each."""
    first, *others = columns
    part = [first]
    for each in others:
        if len(part) > 1 and _excess([one.least for one in [*part, each]], size) > 0:
            yield part
            part = [first]
        part.append(each)
    yield part


def _placed(columns: Sequence[_Wide], size: Size) -> tuple[Placed, ...]:
    """The columns at their natural widths, those of words narrower where there is no room."""
    widths = [each.least for each in columns]
    words = [n for n, each in enumerate(columns) if each.lack > 0]
    room = max(0.0, -_excess(widths, size))
    for done, place in enumerate(sorted(words, key=lambda n: columns[n].lack)):
        more = min(columns[place].lack, room / (len(words) - done))
        widths[place] += more
        room -= more
    return tuple(
        Placed(each.column, width, width < each.natural)
        for each, width in zip(columns, widths, strict=True)
    )


def _lines(part: Sequence[Placed], size: Size) -> int:
    rows = zip(*(placed.column.texts for placed in part), strict=True)
    texts = [max(map(_height, row, part, [size] * len(part))) for row in rows]
    return sum(texts) + 3  # headings and rules


def _height(text: str, placed: Placed, size: Size) -> int:
    if not placed.wrapped:
        return 1
    return max(1, math.ceil(1.15 * width_em(text) * size.em_points / max(placed.width, 1.0)))


def _broken(text: str, room: float) -> Iterator[str]:
    """Lines of at most `room` em, broken between words, and within those that are longer."""
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
