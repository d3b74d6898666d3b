"""One table in LaTeX: as a float, or over as many pages as it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .latex_layout import PageLayout, Placed, Size, heading, layout
from .latex_text import CELL_EM, breakable, escape, width_em

if TYPE_CHECKING:
    from keeprate.analysis.tables import FindingsTable

HEAD: Final = """\
% In the preamble: \\usepackage[T1]{fontenc}, \\usepackage{array,booktabs,longtable}.
% Made for one column of at least 345 points, as in an article; \\input it where it shall stand.
"""
_MOST_LETTERS: Final = 600
"""Letters of a cell; of a longer text the beginning."""
_CAPTION_EM: Final = 32.0
"""Width of a line of a caption, rather too small."""


@dataclass(frozen=True)
class LatexTable:
    """A table in LaTeX, and at most how many `lines` of text it has, the caption's included."""

    text: str
    lines: int


def floating(table: FindingsTable, label: str) -> LatexTable:
    """The table as a float; of one too wide for the page, parts under each other."""
    found = layout(table.columns, bool(table.marked))
    lines = [
        r"\begin{table}[tbp]",
        r"\sloppy\centering\setlength{\belowcaptionskip}{5pt}",
        rf"\caption{{{breakable(table.caption)}}}",
        rf"\label{{{label}}}",
        _letters(found.size),
    ]
    for number, part in enumerate(found.parts):
        lines += [r"\par\medskip"] if number else []
        lines += [rf"\begin{{tabular}}{{{_form(part)}}}", *_top(part, found.size)]
        lines += [*_rows(part, table.marked), r"\bottomrule", r"\end{tabular}"]
    caption = int(width_em(table.caption) / _CAPTION_EM) + 2
    return LatexTable("\n".join([*lines, r"\end{table}"]) + "\n", found.lines + caption)


def spanning(table: FindingsTable, label: str) -> str:
    """The table over several pages; of one too wide for a page, parts one after the other."""
    found = layout(table.columns, bool(table.marked))
    parts = [_spanning(table, found, number, label) for number in range(len(found.parts))]
    return "\n".join(parts)


def _spanning(table: FindingsTable, found: PageLayout, number: int, label: str) -> str:
    part = found.parts[number]
    caption = breakable(table.caption)
    named = rf"\caption{{{caption}}}\label{{{label}}}"
    if number:
        named = r"\caption[]{(further columns)}"
    again = rf"\multicolumn{{{len(part)}}}{{@{{}}l@{{}}}}{{(continued)}} \\"
    lines = [
        r"\begingroup\sloppy\setlength{\LTcapwidth}{\linewidth}",
        *([r"\addtocounter{table}{-1}"] if number else []),
        _letters(found.size),
        rf"\begin{{longtable}}{{{_form(part)}}}",
        rf"{named} \\",
        *_top(part, found.size),
        r"\endfirsthead",
        again,
        *_top(part, found.size),
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *_rows(part, table.marked),
        r"\end{longtable}",
        r"\endgroup",
    ]
    return "\n".join(lines) + "\n"


def _letters(size: Size) -> str:
    points = rf"\fontsize{{{size.points:g}}}{{{1.2 * size.points:g}}}\selectfont"
    return rf"{points}\setlength{{\tabcolsep}}{{{size.gap / 2:g}pt}}"


def _form(part: Sequence[Placed]) -> str:
    return f"@{{}}{''.join(each.form for each in part)}@{{}}"


def _top(part: Sequence[Placed], size: Size) -> list[str]:
    headings = " & ".join(heading(each, size) for each in part)
    return [r"\toprule", rf"{headings} \\", r"\midrule"]


def _rows(part: Sequence[Placed], marked: Sequence[int]) -> Iterator[str]:
    bold = frozenset(marked)
    for place, texts in enumerate(zip(*(each.column.texts for each in part), strict=True)):
        cells = [_cell(text, each) for text, each in zip(texts, part, strict=True)]
        first = rf"\textbf{{{cells[0]}}}" if place in bold else rf"{{}}{cells[0]}"
        yield rf"{' & '.join([first, *cells[1:]])} \\"


def _cell(text: str, placed: Placed) -> str:
    if placed.column.figures:
        return escape(text).replace("-", "$-$")
    short = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} ..."
    return breakable(short, CELL_EM) if placed.wrapped else escape(short)
