"""The comparison as a table in the terminal, as wide as there is room."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from rich.table import Table

    from ..analysis.run_table import Column
    from ..analysis.summary import Group, Summary

_WIDE = 10_000
"""Characters of a line that is not printed on a terminal: never wrapped."""
_GAP = 3
"""Characters between two columns."""
_MOST_GROUPS = 5
"""Groups of runs that sentences are printed about; reports have them for all."""
_WORDS = 20
"""Characters that a column of words is wrapped to where there is no room for more."""


def print_table(summary: Summary) -> None:
    """Print each group's table on stdout, and who is ahead at each budget; problems on stderr.

    Columns that a terminal has no room for are left out; elsewhere the table has all.
    """
    from ..analysis.run_table import table

    for group in summary.groups:
        print_columns(group.title, table(group))
        for line in _verdicts(summary, group):
            click.echo(line)
    for problem in summary.problems:
        click.echo(f"Warning: {problem}", err=True)


def _verdicts(summary: Summary, group: Group) -> list[str]:
    """What can be told apart; nothing where there is nothing to compare, or groups are many."""
    from ..analysis.sections.overview import verdicts_of_group

    if len(summary.groups) > _MOST_GROUPS:
        return []
    found = {each.title: each for each in summary.findings.groups}.get(group.title)
    if found is None or all(len(table.rivals) < 2 for table in found.equal_cost):
        return []
    return verdicts_of_group(found)


def print_columns(title: str, columns: Sequence[Column]) -> None:
    """Print one table on stdout; where it is a terminal, the columns that it has room for."""
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(highlight=False)
        console.print(_grid(title, columns, console.width))
        return
    console = Console(width=_WIDE, highlight=False)
    with console.capture() as captured:
        console.print(_grid(title, columns, _WIDE))
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "replace").decode(encoding))


def _grid(title: str, columns: Sequence[Column], width: int) -> Table:
    """The most important columns, as many as `width` characters hold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kept = _fitting(columns, width)
    grid = Table(title=Text(title), title_justify="left", box=box.SIMPLE)
    for column, characters in zip(kept, _widths(kept, width), strict=True):
        side: Literal["left", "right"] = "right" if column.figures else "left"
        grid.add_column(Text(column.heading), justify=side, width=characters)
    for row in zip(*(column.texts for column in kept), strict=True):
        grid.add_row(*map(Text, row))
    return grid


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    kept = list(columns)
    while _room(kept, width) < 0 and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    return kept


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Characters for each column: what it needs, and what it would like while there is room."""
    room = max(0, _room(columns, width))
    widths = []
    for column in columns:
        needed = _least_width(column)
        liked = max(needed, len(column.heading), *map(len, column.texts))
        widths.append(min(liked, needed + room))
        room -= widths[-1] - needed
    return widths


def _room(columns: Sequence[Column], width: int) -> int:
    """Characters to spare when every column has what it needs."""
    return width - 1 - sum(_least_width(column) + _GAP for column in columns)


def _least_width(column: Column) -> int:
    """Characters a column needs for its figures; headings and words may wrap."""
    texts = max(map(len, column.texts))
    heading = max(map(len, column.heading.split()))
    return max(heading, texts if column.figures else min(texts, _WORDS))
