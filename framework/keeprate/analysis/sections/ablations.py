"""Ablations: compare runs of a method at one budget that differ in a single parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...results.labels import choices_of, text_of
from ..model import Ablation, PairedDifference, ReportOptions, Setting
from ..runs import ScoredRun
from ..series import Level, SeriesTable
from ..statistics import Difference
from .paired import all_metrics, compared, goodness, mean, score, verdicts

# seeds are repetitions of one setting, and the hash of a method's code is no setting
_NOT_A_FACTOR = ("seed", "source")
_SCHEDULE = "schedule"


@dataclass(frozen=True)
class _AblationKey:
    """What runs share that differ in `factor` alone: the method, the level, all other choices."""

    method: str
    factor: str
    level: Level
    fixed: tuple[tuple[str, str], ...]


@dataclass
class _Settings:
    """The runs of each value of the factor, one for each seed."""

    runs: dict[str, list[ScoredRun]] = field(default_factory=lambda: defaultdict(list))

    def best_first(self) -> list[tuple[str, list[ScoredRun]]]:
        return sorted(self.runs.items(), key=lambda item: (-goodness(item[1]), item[0]))


def ablations(arranged: SeriesTable, options: ReportOptions) -> tuple[Ablation, ...]:
    """Find runs that differ in one parameter, or in the schedule alone, and compare their values.

    Every value is compared with the most accurate one. All tables of one factor of a method are
    one family of comparisons.
    """
    settings_by_key = _runs_by_key(arranged)
    families: dict[tuple[str, str], list[_AblationKey]] = defaultdict(list)
    for key in sorted(
        settings_by_key, key=lambda key: (key.method, key.factor, -key.level.macs, key.fixed)
    ):
        families[key.method, key.factor].append(key)
    return tuple(
        ablation
        for family in families.values()
        for ablation in _tables({key: settings_by_key[key] for key in family}, options.level)
    )


def _runs_by_key(arranged: SeriesTable) -> dict[_AblationKey, _Settings]:
    # a run is entered once for each of its parameters, so that runs need not be paired with all
    settings_by_key: dict[_AblationKey, _Settings] = defaultdict(_Settings)
    for level, members in arranged.members.items():
        for scored_run in (run for runs in members.values() for run in runs):
            choices = {**choices_of(scored_run.run), _SCHEDULE: scored_run.run.schedule}
            choices.pop("seed")
            for factor in choices:
                if factor not in _NOT_A_FACTOR:
                    fixed = tuple((name, text) for name, text in choices.items() if name != factor)
                    key = _AblationKey(scored_run.run.method, factor, level, tuple(sorted(fixed)))
                    settings_by_key[key].runs[choices[factor]].append(scored_run)
    return {key: settings for key, settings in settings_by_key.items() if len(settings.runs) > 1}


def _tables(settings_by_key: Mapping[_AblationKey, _Settings], confidence: float) -> list[Ablation]:
    differences: dict[tuple[_AblationKey, str], Difference] = {}
    for key, settings in settings_by_key.items():
        (_, best), *others = settings.best_first()
        for value, runs in others:
            differences[key, value] = compared(runs, best, confidence)
    (example, *_), *_ = next(iter(settings_by_key.values())).runs.values()
    verdict_by_value = verdicts(differences, confidence, example.metric)
    return [
        _table(key, settings, verdict_by_value, confidence)
        for key, settings in settings_by_key.items()
    ]


def _table(
    key: _AblationKey,
    settings: _Settings,
    verdict_by_value: Mapping[tuple[_AblationKey, str], PairedDifference],
    confidence: float,
) -> Ablation:
    compared_settings = tuple(
        _setting(value, runs, verdict_by_value.get((key, value)), confidence)
        for value, runs in settings.best_first()
    )
    first, *others = compared_settings
    won = all(setting.verdict is not None and setting.verdict.distinguishable for setting in others)
    fixed = {name: text for name, text in key.fixed if name not in _NOT_A_FACTOR and text}
    return Ablation(
        method=key.method,
        factor=key.factor,
        fixed=text_of(fixed),
        budget=key.level.text,
        settings=compared_settings,
        winner=first.value if won else "",
    )


def _setting(
    value: str, runs: Sequence[ScoredRun], verdict: PairedDifference | None, confidence: float
) -> Setting:
    return Setting(
        value=value,
        run_ids=tuple(run.id for run in runs),
        macs=mean([run.macs for run in runs]),
        score=score(runs, confidence),
        metrics=all_metrics(runs),
        verdict=verdict,
    )
