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
    from keeprate.analysis.summary import Summary
    from keeprate.analysis.tables import FindingsTable

_MARKS: Final = """\
% Figures in bold are marked as the caption says; * is a difference that is distinguishable.
"""
_PROSE: Final = frozenset({"Verdict"})
"""Columns that a caption's marks and figures say already, too wide for a page."""
_MOST_ROWS: Final = 100
"""Lines of a table for a paper; files for programs hold them all."""
_MOST_FLOATS: Final = 12
"""Tables that LaTeX is made to hold at a time; it can hold few."""
_FLUSH: Final = "\\clearpage % prints the tables that LaTeX holds\n"
_FLOAT_LINES: Final = 48
"""Lines of text that one page has room for, caption included."""


class LatexTables(Report):
    """Tables in LaTeX with booktabs, to \\input: tables.tex for a paper, appendix.tex for the rest.

    appendix.tex has all runs, tokens after each block, provenance, commands and what is missing.
    """

    name: ClassVar[str] = "latex"

    def write(self, summary: Summary, folder: Path) -> list[Path]:
        """Write tables.tex and appendix.tex."""
        texts = {"tables.tex": document(summary.findings), "appendix.tex": appendix(summary)}
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [folder / name for name in texts]


def document(findings: Findings) -> str:
    """The tables of all comparisons, each with caption and label."""
    from keeprate.analysis.tables import tables_of

    parts = [HEAD + _MARKS, _comments((*findings.overview, *findings.methods))]
    held = 0
    for number, group in enumerate(findings.groups, 1):
        parts.append(_comments(_said(group)))
        for n, table in enumerate(tables_of(group, findings.options.level), 1):
            text, floats = _set(table, f"tab:keeprate-{number}-{n}")
            if held and (not floats or held == _MOST_FLOATS):
                parts.append(_FLUSH)
                held = 0
            held += floats
            parts.append(text)
    return "\n".join(parts)


def _set(table: FindingsTable, label: str) -> tuple[str, bool]:
    """The table, and whether it floats: one too long for a page runs over several instead."""
    short = _shortened(table)
    arranged = floating(short, label)
    floats = arranged.lines <= _FLOAT_LINES
    return (arranged.text if floats else spanning(short, label)), floats


def _shortened(table: FindingsTable) -> FindingsTable:
    columns = [each for each in table.columns if each.heading not in _PROSE]
    rows = len(columns[0].texts)
    caption = table.caption
    if rows > _MOST_ROWS:
        caption += f" The first {_MOST_ROWS} of {rows:,} lines; comparisons.csv has all."
    cut = tuple(replace(each, texts=each.texts[:_MOST_ROWS]) for each in columns)
    return replace(table, caption=caption, columns=cut)


def _said(group: GroupFindings) -> Iterator[str]:
    from keeprate.analysis.tables import notes_of

    yield group.title
    yield from group.overview
    yield from notes_of(group)


def _comments(lines: tuple[str, ...] | Iterator[str]) -> str:
    return "".join(f"% {' '.join(line.split())}\n" for line in lines)
