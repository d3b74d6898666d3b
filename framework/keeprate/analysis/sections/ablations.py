"""One factor at a time: runs of a method at one budget that differ in a single parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...results.labels import choices_of, text_of
from ..model import Ablation, PairedDifference, ReportOptions, Setting
from ..runs import ScoredRun
from ..series import Level, SeriesTable
from ..statistics import Difference
from .paired import accuracy, compared, mean, verdicts

_NOT_A_FACTOR = ("seed", "source")
_SCHEDULE = "schedule"


@dataclass(frozen=True)
class _Place:
    """Where runs are that differ in `factor` alone: the method, the level, all other choices."""

    method: str
    factor: str
    level: Level
    fixed: tuple[tuple[str, str], ...]


@dataclass
class _Settings:
    """The runs of each value of the factor, one for each seed."""

    runs: dict[str, list[ScoredRun]] = field(default_factory=lambda: defaultdict(list))

    def best_first(self) -> list[tuple[str, list[ScoredRun]]]:
        return sorted(self.runs.items(), key=lambda item: (-_accuracy(item[1]), item[0]))


def ablations(arranged: SeriesTable, options: ReportOptions) -> tuple[Ablation, ...]:
    """Find what differs in one parameter, or in the schedule alone, and compare it with the best.

    Every run is looked at once for each of its parameters, so that no pairs are formed beyond
    those compared. The tables of one factor of a method are one family.
    """
    places = _places(arranged)
    families: dict[tuple[str, str], list[_Place]] = defaultdict(list)
    for place in sorted(places, key=lambda p: (p.method, p.factor, -p.level.macs, p.fixed)):
        families[place.method, place.factor].append(place)
    return tuple(
        ablation
        for family in families.values()
        for ablation in _tables({place: places[place] for place in family}, options.level)
    )


def _places(arranged: SeriesTable) -> dict[_Place, _Settings]:
    found: dict[_Place, _Settings] = defaultdict(_Settings)
    for level, there in arranged.members.items():
        for each in (judged for runs in there.values() for judged in runs):
            choices = {**choices_of(each.run), _SCHEDULE: each.run.schedule}
            choices.pop("seed")
            for factor in choices:
                if factor not in _NOT_A_FACTOR:
                    fixed = tuple((name, text) for name, text in choices.items() if name != factor)
                    place = _Place(each.run.method, factor, level, tuple(sorted(fixed)))
                    found[place].runs[choices[factor]].append(each)
    return {place: settings for place, settings in found.items() if len(settings.runs) > 1}


def _tables(places: Mapping[_Place, _Settings], confidence: float) -> list[Ablation]:
    differences: dict[tuple[_Place, str], Difference] = {}
    for place, settings in places.items():
        (_, best), *others = settings.best_first()
        for value, runs in others:
            differences[place, value] = compared(runs, best, confidence)
    judged = verdicts(differences, confidence)
    return [_table(place, settings, judged, confidence) for place, settings in places.items()]


def _table(
    place: _Place,
    settings: _Settings,
    judged: Mapping[tuple[_Place, str], PairedDifference],
    confidence: float,
) -> Ablation:
    shown = tuple(
        _setting(value, runs, judged.get((place, value)), confidence)
        for value, runs in settings.best_first()
    )
    first, *others = shown
    won = all(each.verdict is not None and each.verdict.distinguishable for each in others)
    fixed = {n: text for n, text in place.fixed if n not in _NOT_A_FACTOR and text}
    return Ablation(
        method=place.method,
        factor=place.factor,
        fixed=text_of(fixed),
        budget=place.level.text,
        settings=shown,
        winner=first.value if won else "",
    )


def _setting(
    value: str, runs: Sequence[ScoredRun], verdict: PairedDifference | None, confidence: float
) -> Setting:
    measured = [each.result.measured for each in runs]
    return Setting(
        value=value,
        run_ids=tuple(each.id for each in runs),
        macs=mean([each.macs for each in runs]),
        accuracy=accuracy(runs, confidence),
        agreement_percent=100 * mean([each.agreement for each in measured]),
        kl_nats=mean([each.kl for each in measured]),
        verdict=verdict,
    )


def _accuracy(runs: Sequence[ScoredRun]) -> float:
    return mean([each.right / each.result.measured.images for each in runs])
