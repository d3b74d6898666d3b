"""Write one table in LaTeX: as a float, or over as many pages as it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .latex_layout import PageLayout, Placed, Size, heading, layout
from .latex_text import CELL_EM, breakable, escape, width_em

if TYPE_CHECKING:
    from keeprate.analysis.run_table import FindingsTable

HEAD: Final = """\
% In the preamble: \\usepackage[T1]{fontenc}, \\usepackage{array,booktabs,longtable}.
% Made for one column of at least 345 points, as in an article; \\input it where it shall stand.
"""
_MOST_LETTERS: Final = 600
"""Most letters of a cell; of a longer text only the beginning is set."""
_CAPTION_EM: Final = 32.0
"""Width of a line of a caption in em, a little too small, so that lines are not undercounted."""


@dataclass(frozen=True)
class LatexTable:
    """A table in LaTeX; `lines` is the most lines of text it may have, with its caption."""

    text: str
    lines: int


def floating(table: FindingsTable, label: str) -> LatexTable:
    """Return the table as a float; parts of a table too wide for the page go below each other."""
    page_layout = layout(table.columns, bool(table.marked))
    lines = [
        r"\begin{table}[tbp]",
        r"\sloppy\centering\setlength{\belowcaptionskip}{5pt}",
        rf"\caption{{{breakable(table.caption)}}}",
        rf"\label{{{label}}}",
        _letters(page_layout.size),
    ]
    for number, part in enumerate(page_layout.parts):
        lines += [r"\par\medskip"] if number else []
        lines += [rf"\begin{{tabular}}{{{_form(part)}}}", *_top(part, page_layout.size)]
        lines += [*_rows(part, table.marked), r"\bottomrule", r"\end{tabular}"]
    caption_lines = int(width_em(table.caption) / _CAPTION_EM) + 2
    return LatexTable("\n".join([*lines, r"\end{table}"]) + "\n", page_layout.lines + caption_lines)


def spanning(table: FindingsTable, label: str) -> str:
    """Return the table over several pages; one that is too wide comes in parts, in sequence."""
    page_layout = layout(table.columns, bool(table.marked))
    parts = [
        _spanning(table, page_layout, number, label) for number in range(len(page_layout.parts))
    ]
    return "\n".join(parts)


def _spanning(table: FindingsTable, page_layout: PageLayout, number: int, label: str) -> str:
    part = page_layout.parts[number]
    caption = breakable(table.caption)
    caption_line = rf"\caption{{{caption}}}\label{{{label}}}"
    if number:
        caption_line = r"\caption[]{(further columns)}"
    continued = rf"\multicolumn{{{len(part)}}}{{@{{}}l@{{}}}}{{(continued)}} \\"
    lines = [
        r"\begingroup\sloppy\setlength{\LTcapwidth}{\linewidth}",
        # every longtable counts as a table, but the parts are one
        *([r"\addtocounter{table}{-1}"] if number else []),
        _letters(page_layout.size),
        rf"\begin{{longtable}}{{{_form(part)}}}",
        rf"{caption_line} \\",
        *_top(part, page_layout.size),
        r"\endfirsthead",
        continued,
        *_top(part, page_layout.size),
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
    return f"@{{}}{''.join(placed.form for placed in part)}@{{}}"


def _top(part: Sequence[Placed], size: Size) -> list[str]:
    headings = " & ".join(heading(placed, size) for placed in part)
    return [r"\toprule", rf"{headings} \\", r"\midrule"]


def _rows(part: Sequence[Placed], marked: Sequence[int]) -> Iterator[str]:
    bold = frozenset(marked)
    for row, texts in enumerate(zip(*(placed.column.texts for placed in part), strict=True)):
        cells = [_cell(text, placed) for text, placed in zip(texts, part, strict=True)]
        # {} goes before a cell: a "*" at the start of a row would belong to the \\ before it
        first = rf"\textbf{{{cells[0]}}}" if row in bold else rf"{{}}{cells[0]}"
        yield rf"{' & '.join([first, *cells[1:]])} \\"


def _cell(text: str, placed: Placed) -> str:
    if placed.column.figures:
        return escape(text).replace("-", "$-$")
    short = text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]} ..."
    return breakable(short, CELL_EM) if placed.wrapped else escape(short)
