"""How the cost of methods that keep as many tokens as an image needs differs: a table."""

from __future__ import annotations

from ..model import GroupFindings
from ..run_table import FindingsTable, column, filled, unit_of


def cost_spread_table(group: GroupFindings) -> FindingsTable | None:
    """Return the mean and percentiles of the costs of images; None where no run's costs differ."""
    found = [(point, point.spread) for point in group.points if point.spread is not None]
    if not found:
        return None
    unit = unit_of(group)
    columns = (
        column("Method", found, lambda row: row[0].label, figures=False, rank=0),
        column("Budget or schedule", found, lambda row: row[0].asked, figures=False, rank=0),
        column(unit.name, found, lambda row: f"{row[0].macs / unit.size:.3f}", rank=2),
        column("mean % of unpruned", found, lambda row: f"{row[0].share_percent:.1f}", rank=0),
        column("5th percentile", found, lambda row: f"{row[1].p5_percent:.1f}"),
        column("median", found, lambda row: f"{row[1].median_percent:.1f}"),
        column("95th percentile", found, lambda row: f"{row[1].p95_percent:.1f}"),
        column("solved on", found, lambda row: row[1].sample, figures=False, rank=4),
        column(
            "mean % there",
            found,
            lambda row: "" if row[1].sample_percent is None else f"{row[1].sample_percent:.1f}",
            rank=3,
        ),
    )
    caption = (
        f"Methods that keep as many tokens as each of the {group.samples} needs: costs in per cent "
        f"of {group.model} unpruned, over n = {group.images:,}. A budget was solved for the mean "
        f"over other {group.samples}, which are not tested; where the mean there is far below it, "
        "the method keeps no more."
    )
    return FindingsTable(f"Cost over {group.samples}", caption, filled(columns))
