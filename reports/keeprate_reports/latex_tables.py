"""Tables for a paper and its appendix, to be read in with \\input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from keeprate.report import Report

from .latex_appendix import appendix
from .latex_tabular import HEAD, floating, spanning

if TYPE_CHECKING:
    from keeprate.analysis.model import Findings, GroupFindings
    from keeprate.analysis.run_table import FindingsTable

_MARKS: Final = """\
% Figures in bold are marked as the caption says; * is a difference that is distinguishable.
"""
_PROSE: Final = frozenset({"Verdict"})
"""Columns that are left out: too wide for a page, and the marks and figures say the same."""
_MOST_ROWS: Final = 100
"""Most lines of a table for a paper; files for programs hold all of them."""
_MOST_FLOATS: Final = 12
"""Most tables that wait for a page at a time: with more LaTeX stops at "too many floats"."""
_FLUSH: Final = "\\clearpage % prints the tables that LaTeX holds\n"
_FLOAT_LINES: Final = 48
"""Lines of text that one page has room for, with the caption."""


class LatexTables(Report):
    """Tables in LaTeX with booktabs, to \\input: tables.tex for a paper, appendix.tex for the rest.

    appendix.tex has all runs, tokens after each block, provenance, commands and what is missing.
    """

    name: ClassVar[str] = "latex"

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write tables.tex and appendix.tex."""
        texts = {"tables.tex": document(findings), "appendix.tex": appendix(findings)}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [folder / name for name in texts]


def document(findings: Findings) -> str:
    """Return the tables of all comparisons, each with caption and label."""
    from keeprate.analysis.tables import tables_of

    parts = [HEAD + _MARKS, _comments((*findings.overview, *findings.methods))]
    held_floats = 0
    for number, group in enumerate(findings.groups, 1):
        parts.append(_comments(_notes(group)))
        for position, table in enumerate(tables_of(group, findings.options.level), 1):
            text, floats = _set(table, f"tab:keeprate-{number}-{position}")
            # a table over several pages is set at once, so those that wait must go before it
            if held_floats and (not floats or held_floats == _MOST_FLOATS):
                parts.append(_FLUSH)
                held_floats = 0
            held_floats += floats
            parts.append(text)
    return "\n".join(parts)


def _set(table: FindingsTable, label: str) -> tuple[str, bool]:
    """Return the table, and whether it floats: a long one runs over several pages instead."""
    short = _shortened(table)
    float_table = floating(short, label)
    floats = float_table.lines <= _FLOAT_LINES
    return (float_table.text if floats else spanning(short, label)), floats


def _shortened(table: FindingsTable) -> FindingsTable:
    columns = [column for column in table.columns if column.heading not in _PROSE]
    rows = len(columns[0].texts)
    caption = table.caption
    if rows > _MOST_ROWS:
        caption += f" The first {_MOST_ROWS} of {rows:,} lines; comparisons.csv has all."
    shortened_columns = tuple(
        replace(column, texts=column.texts[:_MOST_ROWS]) for column in columns
    )
    return replace(table, caption=caption, columns=shortened_columns)


def _notes(group: GroupFindings) -> Iterator[str]:
    from keeprate.analysis.tables import notes_of

    yield group.title
    yield from group.overview
    yield from notes_of(group)


def _comments(lines: tuple[str, ...] | Iterator[str]) -> str:
    return "".join(f"% {' '.join(line.split())}\n" for line in lines)
