"""How alike the runs at one cost are: from the index of pictures to a table."""

from __future__ import annotations

from ...results.picture_index import PictureIndex
from ..alike import Alike, AlikePair
from ..model import GroupFindings
from ..run_table import FindingsTable, column, filled
from ..runs import RunGroup


def alike(index: PictureIndex, group: RunGroup) -> Alike | None:
    """Return how alike runs of a group are; None where that was not found out with pictures."""
    drawn = index.of_group([run.id for run in group.runs])
    if drawn is None or drawn.alike is None:
        return None
    labels = dict(zip(drawn.runs, drawn.labels, strict=True))
    pairs = tuple(
        AlikePair(**dict(pair) | {"first": labels[pair.first], "second": labels[pair.second]})
        for pair in drawn.alike.pairs
    )
    return Alike(drawn.labels, drawn.text, drawn.alike.images, pairs)


def alike_table(group: GroupFindings) -> FindingsTable | None:
    """Return a row for each pair of the runs at one cost; None where they were not compared."""
    found = group.alike
    if found is None:
        return None
    caption = (
        f"How alike runs with {group.model} are at the end, means over {found.images:,} "
        f"{group.samples}: {found.text} Kept by both: of the patches with a token of their own in "
        "either, the share that has one in both; by chance, that of random sets of the same sizes. "
        "Merged alike: the adjusted Rand index, 1 for equal groups, 0 for chance. Scores: "
        "Spearman's correlation at the first stage of each."
    )
    columns = (
        column("Run", found.pairs, lambda pair: pair.first, figures=False, rank=0),
        column("and", found.pairs, lambda pair: pair.second, figures=False, rank=0),
        column("Kept by both", found.pairs, lambda pair: _share(pair.kept)),
        column("By chance", found.pairs, lambda pair: _share(pair.kept_by_chance)),
        column("Merged alike", found.pairs, lambda pair: _share(pair.grouping)),
        column("Scores", found.pairs, lambda pair: _share(pair.scores)),
    )
    return FindingsTable("How alike the runs are", caption, filled(columns))


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
