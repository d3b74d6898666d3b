"""Whether a smaller model does as well as reducing this one: a table."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import GroupFindings, Point
from ..other_models import OtherModel
from ..run_table import FindingsTable, column, unit_of
from ..runs import RunGroup, ScoredRun
from .paired import score


def smaller_models(
    group: RunGroup, groups: Sequence[RunGroup], level: float
) -> tuple[OtherModel, ...]:
    """Return the other models that were run unpruned, the cheapest first.

    They classify the same samples at the same precision, and cost less than the group's model.
    """
    own = group.unpruned
    if own is None:
        return ()
    others = [each.unpruned for each in groups if each is not group and each.unpruned is not None]
    smaller = [each for each in others if each.macs < own.macs and _task(each) == _task(own)]
    return tuple(
        OtherModel(each.run.backbone.name, each.id, each.macs, score([each], level))
        for each in sorted(smaller, key=lambda each: (each.macs, each.id))
    )


def smaller_models_table(group: GroupFindings) -> FindingsTable | None:
    """Return each smaller model beside the best run here that costs no more; None without any."""
    others = group.others
    if not others:
        return None
    unit, metric = unit_of(group), group.metric
    best = {other.run_id: _best(group, other) for other in others}

    def cost(macs: float) -> str:
        return f"{macs / unit.size:.3f}"

    def run(other: OtherModel) -> Point | None:
        return best[other.run_id]

    columns = (
        column("Smaller model", others, lambda other: other.model, figures=False, rank=0),
        column(unit.name, others, lambda other: cost(other.macs)),
        column(metric.heading, others, lambda other: metric.text(other.score.value)),
        column(
            f"Best of {group.model} at no more",
            others,
            lambda other: f"{p.label} {p.asked}".rstrip() if (p := run(other)) else "none",
            figures=False,
        ),
        column(f"Its {unit.name}", others, lambda other: cost(p.macs) if (p := run(other)) else ""),
        column(
            f"Its {metric.title}",
            others,
            lambda other: metric.text(p.score.value) if (p := run(other)) else "",
        ),
    )
    caption = (
        f"Models that cost less, unpruned, on the same {group.samples}: the other way to spend as "
        f"much as a reduced {group.model}. Means alone, without a test."
    )
    return FindingsTable("Smaller models", caption, columns)


def _best(group: GroupFindings, other: OtherModel) -> Point | None:
    """Return the run of the group with the best score at no higher cost than another model's."""
    sign = 1 if group.metric.higher_is_better else -1
    affordable = [point for point in group.points if point.macs <= other.macs]
    return max(affordable, key=lambda point: sign * point.score.value, default=None)


def _task(unpruned: ScoredRun) -> tuple[str, ...]:
    """Return what two models must share so that their scores can be shown on one axis."""
    run = unpruned.run
    return run.data.fingerprint, unpruned.samples, unpruned.metric.name, run.precision
