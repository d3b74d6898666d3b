"""Whether the best series at a cost is the best by every metric: a table."""

from __future__ import annotations

from collections.abc import Callable

from ..metrics import MetricInfo
from ..model import EqualCost, GroupFindings
from ..run_table import FindingsTable, column, filled


def best_by_metric(group: GroupFindings) -> FindingsTable | None:
    """Return the best series at each budget by every metric; None unless series are compared."""
    budgets = [table for table in group.equal_cost if len(table.rivals) > 1]
    if not budgets:
        return None
    columns = [column("Budget", budgets, lambda table: table.budget, figures=False, rank=0)]
    columns += [
        column(metric.title, budgets, _best(metric), figures=False, rank=1 + place)
        for place, metric in enumerate(group.metrics)
    ]
    caption = (
        f"The series that is best at each budget by each metric, with {group.model} on "
        f"n = {group.images:,} {group.samples}; means alone, without a test."
    )
    return FindingsTable("Best by each metric", caption, filled(columns))


def _best(metric: MetricInfo) -> Callable[[EqualCost], str]:
    sign = 1 if metric.higher_is_better else -1

    def text(table: EqualCost) -> str:
        figures = {
            rival.series: rival.metrics[metric.name]
            for rival in table.rivals
            if metric.name in rival.metrics
        }
        # sorted, so that of equal series the same one is always taken
        best = max(sorted(figures), key=lambda series: sign * figures[series], default=None)
        return "" if best is None else f"{best}: {metric.text(figures[best])}"

    return text
