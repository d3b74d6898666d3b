"""The findings from a store's runs as plain frozen data: all that a report may show, no logic.

Units, unless a name says otherwise: costs (`macs`) are multiply-accumulates per image, scores are
figures of the metric that runs are compared by, in its unit (`GroupFindings.metric`; per cent for
shares), differences are of scores (in percentage points for shares), intervals hold at
`ReportOptions.level`. `metrics` are figures of all metrics by name, each in its unit. Names of
runs, methods and parameters come from plugins and people, so a report must escape them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .alike import Alike
from .disagreement import Disagreement
from .metrics import MetricInfo
from .other_models import OtherModel
from .provenance import FailedRun, Provenance, SkippedSample
from .published_point import PublishedPoint as PublishedPoint
from .run_table import FindingsTable
from .shown_series import ShownSeries
from .spread import CostSpread

FINDINGS_VERSION: Final = 2
"""The version of these names, in every JSON; it rises when a meaning changes."""


@dataclass(frozen=True)
class ReportOptions:
    """The options of a report: what to compare with, at which budgets, at which level.

    `reference` is the series, or the method, that others are compared with at every budget. The
    most accurate series takes its part where it is None or was not run. `budgets` are spelled as
    on the command line (0.8, 800M, 65%); if there are none, the budgets of the runs count.
    `metric` is what runs are compared by, None for the default one (top-1). `places` asks for whole
    paths, `shown` for some series and other names; `axis`, of the front, is macs or throughput.
    """

    reference: str | None = None
    budgets: tuple[str, ...] = ()
    level: float = 0.95
    metric: str | None = None
    places: bool = False
    shown: ShownSeries = field(default_factory=ShownSeries)
    axis: str = "macs"


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its interval; the class that has it says in which unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """A paired difference of scores on the same images, and the verdict on it.

    `adjusted_p_value` is Holm's over the `family` differences that were judged together;
    `distinguishable` is the verdict, and `text` says all of it in words, better or worse
    among them: a positive difference is better where a higher score is.
    """

    difference: Interval
    p_value: float
    adjusted_p_value: float
    family: int
    distinguishable: bool
    text: str


@dataclass(frozen=True)
class Point:
    """One run. `series` is the curve it lies on, `level` its budget or cost.

    `label` tells the run from the store's other runs of the method, `series` is the same without
    the seed; `parameters` are all of them. `budget` is "" without one, and `asked` then the
    schedule. `images` were judged. `macs` is `macs_model` plus the method's own `macs_overhead`,
    `share_percent` its share of the unpruned model's. `difference` and `p_value` (not corrected)
    are against the unpruned run on the same images, None for that run and where there is none.
    `tokens` are the mean patch and prefix tokens after each block.
    `throughput_interval` holds `throughput_ratio`, the median over rounds; it is None where they
    are too few for it or not known.
    `spread` says how costs differ between images, None where they do not.
    `on_front`: no other run of the group is as good at less cost (equal runs are all on it).
    """

    run_id: str
    label: str
    series: str
    method: str
    parameters: str
    asked: str
    budget: str
    schedule: str
    level: str
    seed: int
    reduces: bool
    images: int
    macs: float
    macs_model: float
    macs_overhead: float
    share_percent: float
    score: Interval
    difference: Interval | None
    p_value: float | None
    metrics: Mapping[str, float]
    tokens: tuple[float, ...]
    images_per_second: float | None
    throughput_ratio: float | None
    on_front: bool
    throughput_interval: Interval | None = None
    spread: CostSpread | None = None

    @property
    def promise_kept(self) -> float | None:
        """The speed-up's part of what the multiply-accumulates promise, None without one."""
        return self.throughput_ratio and self.throughput_ratio * self.share_percent / 100


@dataclass(frozen=True)
class SeriesAtCost:
    """A series at one budget: one run, or several seeds of it combined.

    `macs` is their mean. `verdict` is against the table's reference, None for the reference
    itself. `best`: no series at this budget has a better mean score; `level_with_best`: the
    series is not distinguishable from the best.
    """

    series: str
    run_ids: tuple[str, ...]
    seeds: tuple[int, ...]
    macs: float
    share_percent: float
    score: Interval
    metrics: Mapping[str, float]
    throughput_ratio: float | None
    verdict: PairedDifference | None
    against_unpruned: PairedDifference | None
    best: bool
    level_with_best: bool


@dataclass(frozen=True)
class EqualCost:
    """The series that were run at one budget, the best first.

    `budget` is the text that was asked for, or the cost itself; `macs` is what it allows. Others
    are compared with the series `reference`; `absent` are those that were not run at this budget.
    """

    budget: str
    macs: float
    reference: str
    rivals: tuple[SeriesAtCost, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True)
class CurveReading:
    """A curve's score at a budget by straight lines; None, with `reason`, outside its costs."""

    budget: str
    macs: float
    score: Interval | None
    reason: str


@dataclass(frozen=True)
class CurveFinding:
    """The score of a series over its costs; the unpruned run has the highest cost.

    `area` is the mean score from `area_macs[0]` to `area_macs[1]`, the costs that
    all curves of the group share. Where it is None, `reason` says why.
    """

    series: str
    run_ids: tuple[str, ...]
    low_macs: float
    high_macs: float
    readings: tuple[CurveReading, ...]
    area: Interval | None
    area_macs: tuple[float, float] | None
    reason: str


@dataclass(frozen=True)
class AreaDifference:
    """The mean score of `series` less that of `against`, over the costs `macs`."""

    series: str
    against: str
    macs: tuple[float, float]
    verdict: PairedDifference


@dataclass(frozen=True)
class Setting:
    """One value of an ablated parameter, at one budget; `verdict` is against the first setting."""

    value: str
    run_ids: tuple[str, ...]
    macs: float
    score: Interval
    metrics: Mapping[str, float]
    verdict: PairedDifference | None


@dataclass(frozen=True)
class Ablation:
    """Runs of a method at one budget that differ in `factor` alone, the best first.

    `fixed` are the other parameters, as typed. `winner` is the value that is distinguishably
    better than every other value, "" where there is no such value.
    """

    method: str
    factor: str
    fixed: str
    budget: str
    settings: tuple[Setting, ...]
    winner: str


@dataclass(frozen=True)
class GroupPoints:
    """The runs of one model on the same images, by cost, the cheapest first, and what they share.

    `samples` says what was classified, "images" or "texts", `images` how many of them have a
    score. `devices` and `throughputs` say where the runs ran and speed was measured. `metric` is
    what the runs are compared by, `metrics` are all that some run has.
    """

    title: str
    model: str
    model_class: str
    num_parameters: int
    weights: str
    weights_sha256: str
    image_size: tuple[int, int]
    data: str
    samples: str
    images: int
    precision: str
    devices: tuple[str, ...]
    throughputs: tuple[str, ...]
    unpruned_macs: int
    unpruned: Point | None
    points: tuple[Point, ...]
    metric: MetricInfo
    metrics: tuple[MetricInfo, ...]


@dataclass(frozen=True)
class GroupFindings(GroupPoints):
    """All findings on the runs of a group.

    `overview` are sentences. `commands` compute the whole group again. `curves_left_out` are series
    without a curve because there are too many. `disagreement` is None where no two runs have the
    same cost, `alike` where no pictures were drawn of them. `tables` are those of `TABLE_SECTIONS`,
    which every report lays out in their order. `others` are smaller models, unpruned.
    """

    published: tuple[PublishedPoint, ...]
    equal_cost: tuple[EqualCost, ...]
    curves: tuple[CurveFinding, ...]
    area_differences: tuple[AreaDifference, ...]
    ablations: tuple[Ablation, ...]
    skipped: tuple[SkippedSample, ...]
    provenance: tuple[Provenance, ...]
    commands: tuple[str, ...]
    overview: tuple[str, ...] = ()
    tables: tuple[FindingsTable, ...] = ()
    curves_left_out: tuple[str, ...] = ()
    disagreement: Disagreement | None = None
    alike: Alike | None = None
    others: tuple[OtherModel, ...] = ()


@dataclass(frozen=True)
class Findings:
    """Everything that a report shows of a store; `overview` are sentences about the whole store.

    `problems` are lines about files and runs that could not be read or compared. `methods` are
    sentences on how intervals, tests and corrections were computed, for a caption or a footnote,
    `places` the absolute paths in the descriptions of the runs.
    """

    options: ReportOptions
    overview: tuple[str, ...]
    methods: tuple[str, ...]
    groups: tuple[GroupFindings, ...]
    failures: tuple[FailedRun, ...]
    problems: tuple[str, ...]
    places: tuple[str, ...] = ()
    version: int = FINDINGS_VERSION
