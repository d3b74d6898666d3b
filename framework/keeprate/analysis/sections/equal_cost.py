"""Who is better at the same cost: one table for every budget, one family for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..model import EqualCost, PairedDifference, ReportOptions, SeriesAtCost
from ..series import Level, Member, SeriesTable
from ..statistics import Difference
from .paired import accuracy, compared, mean, verdicts

_Against = Callable[[Level], tuple[str, Member] | None]
_Judged = Mapping[tuple[Level, str], PairedDifference]


def equal_cost(arranged: SeriesTable, options: ReportOptions) -> tuple[EqualCost, ...]:
    """Compare the series at each budget, pairing only what stands at the same one.

    Costs that nobody asked for are left out where fewer than two series stand at them, or where
    the options name budgets. Three families are judged, each over all budgets: against the
    reference, the best, the unpruned run.
    """
    levels = [level for level in arranged.levels if _counts(arranged, level, options)]
    best = {level: _best(arranged.members[level]) for level in levels}
    chosen = {
        level: _reference(arranged.members[level], options) or best[level] for level in levels
    }
    unpruned = arranged.unpruned

    def of(names: Mapping[Level, str]) -> _Judged:
        return _judged(
            arranged, lambda at: (names[at], arranged.members[at][names[at]]), levels, options
        )

    against_reference, against_best = of(chosen), of(best)
    against_unpruned = _judged(
        arranged, lambda _: ("", (unpruned,)) if unpruned else None, levels, options
    )
    return tuple(
        EqualCost(
            budget=level.text,
            macs=level.macs,
            reference=chosen[level],
            rivals=_rivals(
                arranged,
                level,
                best[level],
                (against_reference, against_best, against_unpruned),
                options.level,
            ),
            absent=tuple(name for name in arranged.series if name not in arranged.members[level]),
        )
        for level in levels
    )


def _counts(arranged: SeriesTable, level: Level, options: ReportOptions) -> bool:
    if level.asked:
        return bool(arranged.members[level])
    return not options.budgets and len(arranged.members[level]) > 1


def _best(members: Mapping[str, Member]) -> str:
    return max(sorted(members), key=lambda name: _mean_accuracy(members[name]), default="")


def _mean_accuracy(runs: Member) -> float:
    return mean([each.right / each.result.measured.images for each in runs])


def _reference(members: Mapping[str, Member], options: ReportOptions) -> str | None:
    """The series that is named, else the most accurate series of the method that is."""
    if options.reference in members:
        return options.reference
    ours = {name: runs for name, runs in members.items() if runs[0].run.method == options.reference}
    return _best(ours) if ours else None


def _judged(
    arranged: SeriesTable, against: _Against, levels: list[Level], options: ReportOptions
) -> _Judged:
    """The verdict of every series but the one it is compared with, over all levels together."""
    found: dict[tuple[Level, str], Difference] = {}
    for level in levels:
        other = against(level) if arranged.members[level] else None
        for name, runs in arranged.members[level].items():
            if other and name != other[0]:
                found[level, name] = compared(runs, other[1], options.level)
    return verdicts(found, options.level)


def _rivals(
    arranged: SeriesTable, level: Level, best: str, judged: tuple[_Judged, ...], confidence: float
) -> tuple[SeriesAtCost, ...]:
    rivals = []
    for name, runs in arranged.members[level].items():
        reference, to_best, unpruned = (each.get((level, name)) for each in judged)
        measured = [each.result.measured for each in runs]
        speeds = [each.throughput.ratio for each in measured if each.throughput]
        macs = mean([each.macs for each in runs])
        rivals.append(
            SeriesAtCost(
                series=name,
                run_ids=tuple(each.id for each in runs),
                seeds=tuple(each.run.seed for each in runs),
                macs=macs,
                share_percent=100 * macs / measured[0].macs.unpruned,
                accuracy=accuracy(runs, confidence),
                agreement_percent=100 * mean([each.agreement for each in measured]),
                kl_nats=mean([each.kl for each in measured]),
                throughput_ratio=mean(speeds) if speeds else None,
                verdict=reference,
                against_unpruned=unpruned,
                best=name == best,
                level_with_best=to_best is None or not to_best.distinguishable,
            )
        )
    return tuple(sorted(rivals, key=lambda each: (-each.accuracy.value, each.series)))
