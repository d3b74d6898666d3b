"""The figures of the runs of a pass: a row for each method, a column for each budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.table import Table
from rich.text import Text

from ...errors import printable
from .state import ProgressState, State
from .wording import shortened

GAP: Final = 2
"""Characters between two columns."""
_FIGURE: Final = len("100.00%")
_LABEL: Final = len("... and 999 more")
"""Characters that labels have at least before budgets are left out."""


def run_figures(
    tally: ProgressState, figures: Mapping[str, str], so_far: str, width: int, rows: int
) -> Table:
    """Return the runs of the last pass and their `figures`, in at most `rows` rows.

    Budgets that do not fit into `width` characters are left out, and the last row says how many
    runs are not shown. `so_far` says what the figures are.
    """
    cells = _cells(tally)
    budgets = list(dict.fromkeys(budget for row in cells.values() for budget in row))
    columns = budgets[: max(1, (width - _LABEL) // (_FIGURE + GAP))]
    has_head = columns != [""]
    fitting = rows - has_head
    hidden = len(tally.shown) - _count(cells, columns, len(cells))
    # the last row says how many runs are not shown
    kept = len(cells) if len(cells) + bool(hidden) <= fitting else max(0, fitting - 1)
    label_width = max(1, width - len(columns) * (_FIGURE + GAP))
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=label_width)
    for _ in columns:
        grid.add_column(no_wrap=True, justify="right", width=_FIGURE)
    if has_head and rows > 0:
        grid.add_row(Text(so_far, "dim"), *(Text(printable(text), "dim") for text in columns))
    for label, row in list(cells.items())[:kept]:
        texts = (_figure(tally, figures, row.get(budget)) for budget in columns)
        grid.add_row(Text(shortened(label, label_width)), *texts)
    hidden = len(tally.shown) - _count(cells, columns, kept)
    if hidden and fitting > 0:
        grid.add_row(Text(f"... and {hidden:,} more", "dim"))
    return grid


def _cells(tally: ProgressState) -> dict[str, dict[str, str]]:
    """Return the id of each run by its label without the budget, and by the budget."""
    cells: dict[str, dict[str, str]] = {}
    for run_id in tally.shown:
        budget = printable(tally.budgets.get(run_id, ""))
        label = printable(tally.label(run_id)).removesuffix(f" {budget}")
        cells.setdefault(label, {})[budget] = run_id
    return cells


def _count(cells: Mapping[str, Mapping[str, str]], columns: list[str], rows: int) -> int:
    """Return how many runs the first rows show."""
    return sum(budget in row for row in list(cells.values())[:rows] for budget in columns)


def _figure(tally: ProgressState, figures: Mapping[str, str], run_id: str | None) -> Text:
    if run_id is None:
        return Text()
    if tally.states.get(run_id) is State.FAILED:
        return Text("failed", "red")
    is_timed = tally.timed is not None and tally.timed.id == run_id
    return Text(figures.get(run_id, ""), "reverse" if is_timed else "")
