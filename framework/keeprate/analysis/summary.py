"""The summary of a store: all figures that a report shows, which reports only arrange and draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from ..results.labels import text_of
from ..results.records import Result
from ..results.store import Store
from .metrics import UNKNOWN, MetricInfo
from .model import Findings, ReportOptions
from .runs import LoadedRuns, RunGroup, ScoredRun, gather
from .sections.paired import all_metrics, compared, scaled, score

LEVEL: Final = 0.95
"""The level of the intervals in a table of runs."""


@dataclass(frozen=True)
class Line:
    """One run. `score` is by the metric that runs are compared by, intervals are at 95 %.

    Figures are in the unit that reports show (`Group.metric`): shares in per cent, and their
    differences in percentage points. `metrics` are the figures of all metrics by name.

    `parameters` holds all parameters; `label` is the method with only those that tell the run from
    the store's other runs of the method. `asked` is the budget or, without one, the schedule.
    `macs_total` is `macs_model` plus the method's own `macs_overhead`, per image; `share_percent`
    is its share of the unpruned model's cost. The `difference`s and `p_value` (McNemar's exact
    test of what is true or false, else a paired t-test) are against the unpruned run on the same
    images, None for that run itself and where there is no such run. `tokens` is the mean number of
    tokens after each block.
    """

    id: str
    group: str
    label: str
    method: str
    parameters: str
    asked: str
    budget: str
    schedule: str
    seed: int
    reduces: bool
    images: int
    macs_model: float
    macs_overhead: float
    macs_total: float
    share_percent: float
    score: float
    score_low: float
    score_high: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    metrics: Mapping[str, float]
    throughput_ratio: float | None
    images_per_second: float | None
    tokens: str


@dataclass(frozen=True)
class Facts:
    """What the runs of a group have in common; `devices` and `throughputs` list where they ran."""

    backbone: str
    backbone_class: str
    weights: str
    weights_sha256: str
    image_size: tuple[int, int]
    num_parameters: int
    unpruned_macs: int
    data: str
    images: int
    skipped: int
    precision: str
    devices: tuple[str, ...]
    throughputs: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """The runs of one backbone on the same images; `lines` by cost, the cheapest first.

    `metric` is what the runs are compared by, `metrics` are all that some run has.
    """

    title: str
    facts: Facts
    lines: tuple[Line, ...]
    unpruned: Line | None
    metric: MetricInfo = UNKNOWN
    metrics: tuple[MetricInfo, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A store's groups, and a line for each problem with it.

    `findings` are computed from `evidence` and `options`; both are empty in a summary that was not
    made from a store.
    """

    groups: tuple[Group, ...]
    problems: tuple[str, ...]
    evidence: LoadedRuns = field(default=LoadedRuns(), repr=False, compare=False)
    options: ReportOptions = field(default=ReportOptions(), repr=False, compare=False)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all groups."""
        return tuple(line for group in self.groups for line in group.lines)

    @cached_property
    def findings(self) -> Findings:
        """Comparisons at equal cost, curves, ablations and more; computed on the first access.

        Raises KeeprateError as `keeprate.analysis.build.findings` does.
        """
        # imported here, as a table of runs needs none of it
        from .build import findings

        return findings(self.evidence, self.options)


def summarise(store: Store, options: ReportOptions | None = None) -> Summary:
    """Pair every run with the unpruned run of its model on its images, and sort by cost.

    Runs of one group have the same weights, images, transform and precision. Runs that failed or
    cannot be read are left out, figures that cannot be computed are None, and the problems name
    both. `options` are those of the findings.
    """
    options = options or ReportOptions()
    evidence = gather(store, options.metric)
    groups = tuple(_group(group) for group in evidence.groups)
    return Summary(groups, evidence.problems, evidence, options)


def _group(group: RunGroup) -> Group:
    unpruned_run = group.unpruned
    lines = [_line(group.title, scored_run, unpruned_run) for scored_run in group.runs]
    lines.sort(key=lambda line: (line.macs_total, line.label, line.id))
    unpruned = next((line for line in lines if unpruned_run and line.id == unpruned_run.id), None)
    facts = _facts([scored_run.result for scored_run in group.runs])
    return Group(group.title, facts, tuple(lines), unpruned, group.metric, group.metrics)


def _line(title: str, scored_run: ScoredRun, unpruned: ScoredRun | None) -> Line:
    run, measured, macs = (
        scored_run.run,
        scored_run.result.measured,
        scored_run.result.measured.macs,
    )
    interval = score([scored_run], LEVEL)
    difference = _difference_to_unpruned(scored_run, unpruned)
    throughput = measured.throughput
    return Line(
        id=scored_run.id,
        group=title,
        label=scored_run.label,
        method=run.method,
        parameters=text_of(run.parameters),
        asked=run.budget or run.schedule,
        budget=run.budget or "",
        schedule=run.schedule,
        seed=run.seed,
        reduces=run.reduces,
        images=measured.images,
        macs_model=macs.model,
        macs_overhead=macs.overhead,
        macs_total=macs.total,
        share_percent=100 * macs.total / macs.unpruned,
        score=interval.value,
        score_low=interval.low,
        score_high=interval.high,
        difference=difference[0],
        difference_low=difference[1],
        difference_high=difference[2],
        p_value=difference[3],
        metrics=all_metrics([scored_run]),
        throughput_ratio=throughput.ratio if throughput else None,
        images_per_second=throughput.images_per_second if throughput else None,
        tokens=", ".join(f"{count:.4g}" for count in measured.tokens),
    )


_Differences = tuple[float, float, float, float] | tuple[None, None, None, None]


def _difference_to_unpruned(scored_run: ScoredRun, unpruned: ScoredRun | None) -> _Differences:
    """Return difference, low and high in the unit shown, and the p-value."""
    if unpruned is None or scored_run is unpruned or scored_run.samples != unpruned.samples:
        return None, None, None, None
    difference = compared([scored_run], [unpruned], LEVEL)
    interval = scaled(difference, scored_run.metric)
    return interval.value, interval.low, interval.high, difference.p_value


def _facts(results: Sequence[Result]) -> Facts:
    run, measured = results[0].run, results[0].measured
    speeds = [result.measured.throughput for result in results if result.measured.throughput]
    return Facts(
        backbone=run.backbone.name,
        backbone_class=run.backbone.cls,
        weights=str(run.backbone.weights),
        weights_sha256=run.backbone.weights_sha256,
        image_size=run.backbone.image_size,
        num_parameters=run.backbone.num_parameters,
        unpruned_macs=measured.macs.unpruned,
        data=f"{run.data.name} {text_of({**run.data.places, **run.data.parameters})}".rstrip(),
        images=measured.images,
        skipped=len(run.data.skipped),
        precision=run.precision,
        devices=_distinct(result.environment.device for result in results),
        throughputs=_distinct(
            f"{speed.device}, {speed.precision}, batch size {speed.batch_size}" for speed in speeds
        ),
    )


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))
