"""Tables for a paper, to be read in with \\input."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.findings import Findings
    from keeprate.findings.tables import FindingsTable
    from keeprate.summary import Summary

_HEAD = """\
% \\usepackage{booktabs} and \\usepackage[T1]{fontenc} in the preamble, then \\input{tables}.
% Figures in bold are marked as the caption says; * is a difference that is distinguishable.
"""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",
    "]": "{]}",
}
_PROSE = frozenset({"Verdict"})
"""Columns that a caption's marks and figures say already, too wide for a page."""


class LatexTables(Report):
    """Tables in LaTeX with booktabs, intervals, marks and captions, to \\input, in tables.tex."""

    name: ClassVar[str] = "latex"

    def write(self, summary: Summary, folder: Path) -> list[Path]:
        """Write tables.tex."""
        path = folder / "tables.tex"
        path.write_text(document(summary.findings), encoding="utf-8")
        return [path]


def document(findings: Findings) -> str:
    """All tables, each a float with caption and label."""
    from keeprate.findings.tables import tables_of

    notes = [f"% {_comment(line)}" for line in (*findings.overview, *findings.methods)]
    parts = [_HEAD + "\n".join(notes) + "\n"]
    for number, group in enumerate(findings.groups, 1):
        tables = tables_of(group, findings.options.level)
        parts += [_float(each, f"tab:keeprate-{number}-{n}") for n, each in enumerate(tables, 1)]
    return "\n".join(parts)


def escape(text: str) -> str:
    """`text` so that LaTeX sets it as it is, on one line; what pdfTeX has no letter for as "?"."""
    flat = " ".join(text.split())
    latin = flat.encode("latin-1", "replace").decode("latin-1")
    return re.sub(r"""[\\{}&%$#_~^<>|"\[\]]""", lambda found: _SPECIAL[found[0]], latin)


def _float(table: FindingsTable, label: str) -> str:
    columns = [column for column in table.columns if column.heading not in _PROSE]
    form = "".join("r" if column.figures else "l" for column in columns)
    rows = zip(*(column.texts for column in columns), strict=True)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{form}}}",
        r"\toprule",
        _row(escape(column.heading) for column in columns),
        r"\midrule",
        *_body(rows, table.marked),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _body(rows: Iterable[tuple[str, ...]], marked: tuple[int, ...]) -> Iterator[str]:
    for place, row in enumerate(rows):
        cells = [escape(text) for text in row]
        if place in marked:
            cells[0] = rf"\textbf{{{cells[0]}}}"
        yield _row(cells)


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _comment(text: str) -> str:
    return " ".join(text.split())
