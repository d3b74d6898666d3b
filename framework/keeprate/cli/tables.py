"""Prints a comparison as a table, with the columns that fit into the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import printable
from .printing import echo

if TYPE_CHECKING:
    from rich.table import Table

    from ..analysis.model import Findings
    from ..analysis.run_table import Column

_WIDE = 10_000
"""Width, in characters, where the output is no terminal: lines are never wrapped."""
_GAP = 3
"""Characters between two columns."""
_MOST_GROUPS = 5
"""Sentences are printed for this many groups of runs at most; reports have them for all."""
_WORDS = 20
"""Characters to which a column of words is wrapped if there is no room for more."""


def print_table(findings: Findings, told: Collection[str] = ()) -> None:
    """Print the table of each group and who is ahead at each budget; problems go to stderr.

    That the runs with the ids `told` failed is not said again.
    On a terminal, columns that do not fit are left out; elsewhere the table has all columns.
    """
    from ..analysis.run_table import table
    from ..analysis.sections.overview import leaders_of_group, speed_of_group

    for group in findings.groups:
        print_columns(group.title, table(group, findings.options.level))
        if len(findings.groups) <= _MOST_GROUPS:
            leaders = leaders_of_group(group, findings.options.level)
            for sentence in [*leaders, *speed_of_group(group)]:
                echo(wrapped(sentence))
    again = tuple(f"{run_id} failed: " for run_id in told)
    for problem in findings.problems:
        if problem.startswith(again):
            continue
        echo(f"Warning: {problem}", err=True)


def wrapped(sentence: str) -> str:
    """Break a sentence between words where the terminal ends; elsewhere it stays one line."""
    if not sys.stdout.isatty():
        return sentence
    width = shutil.get_terminal_size().columns
    return textwrap.fill(
        sentence, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def link(path: Path) -> str:
    """Return a path as text, on a terminal such that a click opens the file."""
    if not sys.stdout.isatty():
        return str(path)
    return f"\x1b]8;;{path.resolve().as_uri()}\x1b\\{path}\x1b]8;;\x1b\\"


def print_columns(title: str, columns: Sequence[Column]) -> None:
    """Print one table on stdout; on a terminal, only the columns that fit."""
    from rich.console import Console

    if sys.stdout.isatty():
        console = Console(highlight=False)
        console.print(_grid(title, columns, console.width))
        return
    console = Console(width=_WIDE, highlight=False)
    with console.capture() as captured:
        console.print(_grid(title, columns, _WIDE))
    # Rich fills each line up with spaces; and an encoding may lack the signs of the table
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    encoding = sys.stdout.encoding or "utf-8"
    echo(text.encode(encoding, "replace").decode(encoding))


def _grid(title: str, columns: Sequence[Column], width: int) -> Table:
    """Make a table of the most important columns that fit into `width` characters."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    kept = _fitting(columns, width)
    grid = Table(title=Text(printable(title)), title_justify="left", box=box.SIMPLE)
    for column, characters in zip(kept, _widths(kept, width), strict=True):
        side: Literal["left", "right"] = "right" if column.figures else "left"
        grid.add_column(Text(printable(column.heading)), justify=side, width=characters)
    for row in zip(*(column.texts for column in kept), strict=True):
        grid.add_row(*(Text(printable(text)) for text in row))
    return grid


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    kept = list(columns)
    # columns of rank 0 always stay; of the others, the highest rank goes first
    while _room(kept, width) < 0 and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    return kept


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return each column's width: what it needs, and from left to right more if there is room."""
    spare = max(0, _room(columns, width))
    widths = []
    for column in columns:
        needed = _least_width(column)
        unwrapped = max(needed, len(column.heading), *map(len, column.texts))
        widths.append(min(unwrapped, needed + spare))
        spare -= widths[-1] - needed
    return widths


def _room(columns: Sequence[Column], width: int) -> int:
    """Return the characters to spare when every column has what it needs."""
    return width - 1 - sum(_least_width(column) + _GAP for column in columns)


def _least_width(column: Column) -> int:
    """Return the characters that a column needs; headings and words may wrap, figures not."""
    text_width = max(map(len, column.texts))
    heading_width = max(map(len, column.heading.split()))
    return max(heading_width, text_width if column.figures else min(text_width, _WORDS))
