"""Compare series at equal cost: one table for every budget, one family for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..model import EqualCost, PairedDifference, ReportOptions, SeriesAtCost
from ..series import Level, Member, SeriesTable
from ..statistics import Difference
from .paired import all_metrics, compared, goodness, mean, score, verdicts

_OpponentOf = Callable[[Level], tuple[str, Member] | None]
_Verdicts = Mapping[tuple[Level, str], PairedDifference]


def equal_cost(arranged: SeriesTable, options: ReportOptions) -> tuple[EqualCost, ...]:
    """Compare the series at each budget; only series at the same budget are paired.

    A cost that nobody asked for is left out where it has fewer than two series, or where the
    options name budgets. Three families of differences are corrected, each over all budgets:
    against the reference, against the best, and against the unpruned run.
    """
    levels = [level for level in arranged.levels if _is_compared(arranged, level, options)]
    best = {level: _best(arranged.members[level]) for level in levels}
    references = {
        level: _reference(arranged.members[level], options) or best[level] for level in levels
    }
    unpruned = arranged.unpruned

    def verdicts_against(names: Mapping[Level, str]) -> _Verdicts:
        def opponent(level: Level) -> tuple[str, Member]:
            return names[level], arranged.members[level][names[level]]

        return _verdicts_against(arranged, opponent, levels, options)

    against_reference, against_best = verdicts_against(references), verdicts_against(best)
    against_unpruned = _verdicts_against(
        arranged, lambda _: ("", (unpruned,)) if unpruned else None, levels, options
    )
    return tuple(
        EqualCost(
            budget=level.text,
            macs=level.macs,
            reference=references[level],
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


def _is_compared(arranged: SeriesTable, level: Level, options: ReportOptions) -> bool:
    if level.asked:
        return bool(arranged.members[level])
    return not options.budgets and len(arranged.members[level]) > 1


def _best(members: Mapping[str, Member]) -> str:
    # sorted, so that of equally good series the same one is always taken
    return max(sorted(members), key=lambda name: goodness(members[name]), default="")


def _reference(members: Mapping[str, Member], options: ReportOptions) -> str | None:
    """Return the series that is the reference, or the best series of the method that is."""
    if options.reference in members:
        return options.reference
    of_method = {
        name: runs for name, runs in members.items() if runs[0].run.method == options.reference
    }
    return _best(of_method) if of_method else None


def _verdicts_against(
    arranged: SeriesTable, against: _OpponentOf, levels: list[Level], options: ReportOptions
) -> _Verdicts:
    """Return the verdict on every series against its opponent, over all levels together."""
    differences: dict[tuple[Level, str], Difference] = {}
    for level in levels:
        opponent = against(level) if arranged.members[level] else None
        for name, runs in arranged.members[level].items():
            if opponent and name != opponent[0]:
                differences[level, name] = compared(runs, opponent[1], options.level)
    return verdicts(differences, options.level, arranged.metric)


def _rivals(
    arranged: SeriesTable,
    level: Level,
    best: str,
    verdict_families: tuple[_Verdicts, ...],
    confidence: float,
) -> tuple[SeriesAtCost, ...]:
    rivals = []
    for name, runs in arranged.members[level].items():
        reference, to_best, unpruned = (family.get((level, name)) for family in verdict_families)
        measured = [run.result.measured for run in runs]
        speeds = [
            measurement.throughput.ratio for measurement in measured if measurement.throughput
        ]
        macs = mean([run.macs for run in runs])
        rivals.append(
            SeriesAtCost(
                series=name,
                run_ids=tuple(run.id for run in runs),
                seeds=tuple(run.run.seed for run in runs),
                macs=macs,
                share_percent=100 * macs / measured[0].macs.unpruned,
                score=score(runs, confidence),
                metrics=all_metrics(runs),
                throughput_ratio=mean(speeds) if speeds else None,
                verdict=reference,
                against_unpruned=unpruned,
                best=name == best,
                # the best itself has no verdict against the best
                level_with_best=to_best is None or not to_best.distinguishable,
            )
        )
    sign = 1 if arranged.metric.higher_is_better else -1
    return tuple(sorted(rivals, key=lambda rival: (-sign * rival.score.value, rival.series)))
