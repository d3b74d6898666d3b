"""The findings in sentences: what was run, which series leads, what can be distinguished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ...costs import gmacs
from ..metrics import MetricInfo
from ..model import EqualCost, GroupFindings, Interval, ReportOptions, SeriesAtCost
from ..provenance import FailedRun

_MOST_NAMES: Final = 6
"""Most names that are written out in a sentence; the others are counted."""
_NOISY: Final = 0.2
"""Intervals of speed-ups wider than this share of them are called noisy."""
_CLEARLY_LESS: Final = 0.97
"""Costs below this share of a budget are told: who pays less may well be less accurate."""


def overview(
    groups: Sequence[GroupFindings],
    failures: Sequence[FailedRun],
    problems: Sequence[str],
    options: ReportOptions,
) -> tuple[str, ...]:
    """Return sentences about a whole store."""
    runs = sum(len(group.points) for group in groups)
    if not runs:
        sentences = ["No finished run."]
    else:
        methods = {name for group in groups for name in _methods(group, options)}
        of_methods = f" of {names_in_words(methods)}" if methods else ""
        sentences = [
            f"{_count(runs, 'finished run')}{of_methods}, in {_count(len(groups), 'comparison')}."
        ]
    if failures:
        sentences.append(f"{_count(len(failures), 'run')} failed and are in no table.")
    # every failed run is one of the problems as well
    others = len(problems) - len(failures)
    if others > 0:
        sentences.append(f"{_count(others, 'problem')} with the store, listed at the end.")
    return tuple(sentences)


def overview_of_group(group: GroupFindings, options: ReportOptions) -> tuple[str, ...]:
    """Return sentences about one model on the same images."""
    sentences = [_runs_sentence(group, options)]
    if group.unpruned:
        unpruned = group.unpruned
        sentences.append(
            f"The unpruned model costs {gmacs(unpruned.macs)} and reaches "
            f"{_score_text(unpruned.score, group.metric)}."
        )
    sentences += leaders_of_group(group, options.level)
    sentences += speed_of_group(group)
    sentences += [line for table in group.equal_cost for line in _level_with_unpruned(table)]
    sentences += [
        f"{ablation.method}: {ablation.factor}={ablation.winner} is better than every other value "
        f"at {ablation.budget}{f' with {ablation.fixed}' if ablation.fixed else ''}."
        for ablation in [ablation for ablation in group.ablations if ablation.winner][:_MOST_NAMES]
    ]
    return tuple(sentences + _without_curve(group))


def leaders_of_group(group: GroupFindings, level: float) -> list[str]:
    """Return a sentence for each budget: who is ahead, and what cannot be told from it.

    Where one is ahead, one more says what "distinguishable" means; `level` is that of the
    intervals.
    """
    tables = [table for table in group.equal_cost if table.rivals]
    sentences = [
        " ".join(filter(None, [_leader_sentence(table, group.metric), cheaper_in_words(table)]))
        for table in tables
    ]
    comparisons = sum(len(table.rivals) - 1 for table in tables)
    if any(_ahead(table) != list(table.rivals) for table in tables):
        sentences.append(
            f"Distinguishable: by paired tests on the same {group.samples}, at "
            f"{100 * level:g} %, corrected for {_count(comparisons, 'comparison')} (Holm)."
        )
    return sentences


def speed_of_group(group: GroupFindings) -> list[str]:
    """Say how far speed-ups can be trusted: not very far where their intervals are wide."""
    timed = [point for point in group.points if point.throughput_ratio is not None]
    unsure = [point for point in timed if point.throughput_interval is None]
    sentences = []
    if unsure:
        number = f"{_count(len(unsure), 'speed-up')} {'has' if len(unsure) == 1 else 'have'}"
        sentences.append(f"{number} no interval: too few rounds are known for one.")
    wide = max((e for p in timed if (e := p.throughput_interval)), key=_spread, default=None)
    if wide is not None and _spread(wide) > _NOISY:
        noisy = next(point for point in timed if point.throughput_interval is wide)
        sentences.append(
            f"Speed was noisy: that of {noisy.label} at {noisy.asked} may be {wide.low:.2f} to "
            f"{wide.high:.2f} times the unpruned model's. Measure it again on an idle machine."
        )
    return sentences


def _spread(speed_up: Interval) -> float:
    return (speed_up.high - speed_up.low) / speed_up.value


def _without_curve(group: GroupFindings) -> list[str]:
    """Say which series have no curve though they have several costs, and how to get one."""
    left_out = group.curves_left_out
    if not left_out:
        return []
    return [
        f"Curves are worked out for {len(group.curves):,} series, the best ones; without "
        f"one: {names_in_words(left_out)}. keeprate report FOLDER --against NAME takes the "
        "series or method NAME in."
    ]


def methods_in_words(options: ReportOptions) -> tuple[str, ...]:
    """Return sentences on how figures were computed."""
    percent = f"{100 * options.level:g} %"
    reference = options.reference or "the best series at each budget"
    caveat = (
        ""
        if options.reference
        else (", which was chosen on the same images, so that its lead is somewhat overstated")
    )
    return (
        "Costs are multiply-accumulates (MACs) per image, one multiply-accumulate counted as one, "
        "the method's own included.",
        f"Shares of one run have Wilson's {percent} interval, other means a bootstrap interval; of "
        "several seeds, an interval for other images and other seeds (Satterthwaite).",
        "Differences are paired on the same images: for one run against one, Tango's "
        "interval and McNemar's exact test of shares, bootstrap intervals and t-tests of other "
        "means; with several seeds, intervals and t-tests from the variance over images and "
        "seeds. Intervals are for each difference alone.",
        f"At each budget series are compared with {reference}{caveat}.",
        "p-values are Holm's, over all differences of a comparison that are judged together; "
        f"better or worse is said where one is at most {1 - options.level:.2g} and the interval "
        "holds one sign only.",
        "Curves are straight lines between costs that were run; areas are means over "
        "the costs that all curves share. Intervals of shares are Wilson's for as many images "
        "as their variance stands for, those of other means bootstrap intervals over images.",
        "A run is on the Pareto front if no other is as good at less cost; estimates are "
        "taken as they are.",
    )


def _methods(group: GroupFindings, options: ReportOptions) -> set[str]:
    return {options.shown.label(point.method) for point in group.points if point.reduces}


def _runs_sentence(group: GroupFindings, options: ReportOptions) -> str:
    methods = _methods(group, options)
    runs = _count(sum(point.reduces for point in group.points), "run")
    compared = f"{runs} of {names_in_words(methods)}" if methods else "No run that reduces tokens"
    return (
        f"{compared} with {group.model} on {group.images:,} {group.samples} of {group.data}, "
        f"{group.precision}."
    )


def _leader_sentence(table: EqualCost, metric: MetricInfo) -> str:
    best, *others = table.rivals
    score = _score_text(best.score, metric)
    if not others:
        return f"At {table.budget} only {best.series} was run: {score}{_beside_unpruned(best)}."
    ahead = [rival.series for rival in _ahead(table)]
    level = [r.series for r in others if r.level_with_best and r.series not in ahead]
    behind = [rival.series for rival in others if not rival.level_with_best]
    if len(ahead) == len(table.rivals):
        return f"At {table.budget} all are equal, with {score}: {names_in_words(ahead)}."
    tied = len(ahead) > 1
    parts = [
        f"At {table.budget} {names_in_words(ahead)} {'are' if tied else 'is'} ahead with {score}"
    ]
    if level:
        it = best.series if tied else "it"
        none = "none of the others is" if len(level) > 1 and not behind else "not"
        parts.append(f"{none} distinguishable from {it}: {names_in_words(level)}")
    if behind:
        everyone = "all others are " if len(behind) > 1 and not level else ""
        parts.append(f"{everyone}distinguishably worse: {names_in_words(behind)}")
    return f"{'; '.join(parts)}."


def cheaper_in_words(table: EqualCost) -> str:
    """Say which series cost clearly less than the budget of the table, "" if none does."""
    cheap = [rival for rival in table.rivals if rival.macs < _CLEARLY_LESS * table.macs]
    if not cheap:
        return ""
    names = names_in_words(f"{rival.series} ({rival.share_percent:.1f}%)" for rival in cheap)
    return f"Not as costly: {names}."


def _ahead(table: EqualCost) -> list[SeriesAtCost]:
    # equal scores are sums of the same counts, so they are equal to the last bit
    best = table.rivals[0].score.value
    return [rival for rival in table.rivals if rival.score.value == best]


def _beside_unpruned(rival: SeriesAtCost) -> str:
    """Say how the only series at a budget compares with the unpruned model."""
    if rival.against_unpruned is None:
        return ""
    return f"; beside the unpruned model: {rival.against_unpruned.text}"


def _level_with_unpruned(table: EqualCost) -> list[str]:
    """Say which series are not distinguishable from the unpruned model."""
    judged = [rival for rival in table.rivals if rival.against_unpruned]
    level_series = [rival.series for rival in judged if not _differs(rival)]
    # silent where it holds for none or for all, which the tables show anyway
    if not level_series or len(level_series) == len(judged):
        return []
    return [
        f"At {table.budget} not distinguishable from the unpruned model: "
        f"{names_in_words(level_series)}."
    ]


def _differs(rival: SeriesAtCost) -> bool:
    return rival.against_unpruned is not None and rival.against_unpruned.distinguishable


def _score_text(score: Interval, metric: MetricInfo) -> str:
    value, low, high = (metric.text(end) for end in (score.value, score.low, score.high))
    return " ".join(filter(None, [value, metric.unit, f"[{low}, {high}]", metric.in_sentence]))


def names_in_words(names: Iterable[str]) -> str:
    """Join names for a sentence, in order; of many, only the first few are written out."""
    ordered = sorted(names)
    first = ordered[:_MOST_NAMES]
    more = len(ordered) - len(first)
    if more:
        return f"{', '.join(first)} and {more} more"
    return " and ".join([", ".join(first[:-1]), first[-1]] if first[1:] else first)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
