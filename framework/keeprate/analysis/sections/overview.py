"""The findings in sentences: what was run, who is ahead at each budget, what can be told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ...costs import gmacs
from ..model import EqualCost, GroupFindings, Interval, ReportOptions, SeriesAtCost
from ..provenance import FailedRun

_MOST_NAMES: Final = 6
"""Names written out in a sentence; the others are counted."""


def overview(
    groups: Sequence[GroupFindings], failures: Sequence[FailedRun], problems: Sequence[str]
) -> tuple[str, ...]:
    """Sentences about a whole store."""
    runs = sum(len(group.points) for group in groups)
    if not runs:
        said = ["No finished run."]
    else:
        methods = {p.method for group in groups for p in group.points if p.reduces}
        of = f" of {names_in_words(methods)}" if methods else ""
        said = [f"{_count(runs, 'finished run')}{of}, in {_count(len(groups), 'comparison')}."]
    if failures:
        said.append(f"{_count(len(failures), 'run')} failed and are in no table.")
    others = len(problems) - len(failures)
    if others > 0:
        said.append(f"{_count(others, 'problem')} with the store, listed at the end.")
    return tuple(said)


def overview_of_group(group: GroupFindings) -> tuple[str, ...]:
    """Sentences about one model on the same images."""
    said = [_what(group)]
    if group.unpruned:
        plain = group.unpruned
        said.append(
            f"The unpruned model costs {gmacs(plain.macs)} and reaches {_shown(plain.accuracy)}."
        )
    said += verdicts_of_group(group)
    said += [
        f"{each.method}: {each.factor}={each.winner} is better than every other value at "
        f"{each.budget}{f' with {each.fixed}' if each.fixed else ''}."
        for each in [each for each in group.ablations if each.winner][:_MOST_NAMES]
    ]
    return tuple(said + _without_curve(group))


def verdicts_of_group(group: GroupFindings) -> list[str]:
    """Sentences about who is ahead at each budget, and what cannot be told from it."""
    tables = [table for table in group.equal_cost if table.rivals]
    return [_ahead(table) for table in tables] + [
        line for table in tables for line in _no_worse(table)
    ]


def _without_curve(group: GroupFindings) -> list[str]:
    """Which series have no curve though they were run at several costs, and how to get one."""
    left_out = group.curves_left_out
    if not left_out:
        return []
    return [
        f"Curves are worked out for {len(group.curves):,} series, the most accurate ones; without "
        f"one: {names_in_words(left_out)}. keeprate report FOLDER --against NAME takes the "
        "series or method NAME in."
    ]


def methods_in_words(options: ReportOptions) -> tuple[str, ...]:
    """Sentences on how figures were computed."""
    percent = f"{100 * options.level:g} %"
    reference = options.reference or "the most accurate series at each budget"
    chosen = (
        ""
        if options.reference
        else (", which was chosen on the same images, so that its lead is somewhat overstated")
    )
    return (
        "Costs are multiply-accumulates (MACs) per image, one multiply-accumulate counted as one, "
        "the method's own included.",
        f"Accuracies of one run have Wilson's {percent} interval; of several seeds, an interval "
        "for other images and other seeds (Satterthwaite).",
        "Differences are paired on the same images: Agresti and Min's interval and McNemar's "
        "exact test for one run against one; with several seeds, intervals and t-tests from the "
        "variance over images and seeds. Intervals are for each difference alone.",
        f"At each budget series are compared with {reference}{chosen}.",
        "p-values are Holm's, over all differences of a comparison that are judged together; "
        f"better or worse is said where one is at most {1 - options.level:.2g} and the interval "
        "holds one sign only.",
        "Curves are straight lines between costs that were run; areas are mean accuracies over "
        "the costs that all curves share. Intervals of both are bootstrap intervals over images.",
        "A run is on the Pareto front if no other is as accurate at less cost; estimates are "
        "taken as they are.",
    )


def _what(group: GroupFindings) -> str:
    methods = {point.method for point in group.points if point.reduces}
    runs = _count(sum(point.reduces for point in group.points), "run")
    compared = f"{runs} of {names_in_words(methods)}" if methods else "No run that reduces tokens"
    return (
        f"{compared} with {group.model} on {group.images:,} {group.samples} of {group.data}, "
        f"{group.precision}."
    )


def _ahead(table: EqualCost) -> str:
    best = table.rivals[0]
    at = f"At {table.budget}"
    if len(table.rivals) == 1:
        return f"{at} only {best.series} was run: {_shown(best.accuracy)}."
    level = [each.series for each in table.rivals[1:] if each.level_with_best]
    said = f"{at} {best.series} is most accurate with {_shown(best.accuracy)}"
    if not level:
        return f"{said}, distinguishably better than all others."
    every = " (all that were run)" if len(level) == len(table.rivals) - 1 else ""
    return f"{said}; not distinguishable from it: {names_in_words(level)}{every}."


def _no_worse(table: EqualCost) -> list[str]:
    """Which series cannot be told from the unpruned model, if any can."""
    judged = [each for each in table.rivals if each.against_unpruned]
    level = [each.series for each in judged if not _differs(each)]
    if not level or len(level) == len(judged):
        return []
    return [
        f"At {table.budget} not distinguishable from the unpruned model: {names_in_words(level)}."
    ]


def _differs(rival: SeriesAtCost) -> bool:
    return rival.against_unpruned is not None and rival.against_unpruned.distinguishable


def _shown(accuracy: Interval) -> str:
    return f"{accuracy.value:.2f} % [{accuracy.low:.2f}, {accuracy.high:.2f}] top-1"


def names_in_words(names: Iterable[str]) -> str:
    """Names in a sentence, by name; of many the first few, and how many more there are."""
    every = sorted(names)
    shown = every[:_MOST_NAMES]
    more = len(every) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if shown[1:] else shown)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
