"""Everything a report shows, computed once from a store: reports only arrange and draw it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import KeeprateError
from .labels import labels_of, text_of
from .results import Result, RunInfo, Store
from .statistics import mcnemar_exact, paired_difference, wilson_interval


@dataclass(frozen=True)
class Line:
    """One run. Shares are in per cent, differences in percentage points, intervals at 95 %.

    `parameters` has them all; `label` is the method with those that tell it from the store's other
    runs of the method. `asked` is the budget or, without one, the schedule. `macs_total` is
    `macs_model` plus the method's own `macs_overhead`, per image, and `share_percent` what that is
    of the unpruned model's. The `difference`s and `p_value` (McNemar's exact test) are against the
    unpruned run on the same images, None for that run itself and where there is none. `kl_nats` is
    the mean divergence from the unpruned prediction, `tokens` the mean number after each block.
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
    top1_percent: float
    top1_low_percent: float
    top1_high_percent: float
    difference_points: float | None
    difference_low_points: float | None
    difference_high_points: float | None
    p_value: float | None
    top5_percent: float
    agreement_percent: float
    kl_nats: float
    throughput_ratio: float | None
    images_per_second: float | None
    tokens: str


@dataclass(frozen=True)
class Facts:
    """What the runs of a group have in common; `devices` and `throughputs` say what they ran on."""

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
    """The runs of one backbone on the same images; `lines` by cost, the cheapest first."""

    title: str
    facts: Facts
    lines: tuple[Line, ...]
    unpruned: Line | None


@dataclass(frozen=True)
class Summary:
    """A store's groups, and a line for each thing that is wrong with it."""

    groups: tuple[Group, ...]
    problems: tuple[str, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all groups."""
        return tuple(line for group in self.groups for line in group.lines)


@dataclass(frozen=True)
class _Outcome:
    """A run and, by sample id in sorted order, whether it was right."""

    result: Result
    samples: list[str]
    correct: NDArray[np.bool_]


def summarise(store: Store) -> Summary:
    """Pair every run with the unpruned run of its model on its images, and sort by cost.

    Runs belong together that have the same weights, images, transform and precision. Whatever
    failed, cannot be read or cannot be compared is left out or left empty, and named in the
    problems.
    """
    results, problems = store.results()
    failures, unreadable = store.failures()
    problems += [f"{each.id} failed: {each.error}" for each in failures] + unreadable
    labels = labels_of([result.run for result in results])
    members: dict[str, list[_Outcome]] = defaultdict(list)
    for result in results:
        try:
            members[_identity(result.run)].append(_outcome(store, result))
        except KeeprateError as error:
            problems.append(str(error))
    titles = _titles({key: outcomes[0].result for key, outcomes in members.items()})
    ordered = sorted(titles, key=lambda key: titles[key])
    groups = [_group(titles[key], members[key], labels, problems) for key in ordered]
    return Summary(tuple(groups), tuple(problems))


def _identity(run: RunInfo) -> str:
    """The same for runs whose images and plain model are the same."""
    data = run.data
    return json.dumps(
        [
            run.backbone.weights_sha256,
            run.backbone.image_size,
            data.fingerprint,
            data.images,
            sorted(data.skipped),
            data.transform,
            run.precision,
        ],
        sort_keys=True,
    )


def _outcome(store: Store, result: Result) -> _Outcome:
    """Raises KeeprateError for rows that cannot be read or are not those of the result."""
    rows = store.rows(result.id, ["sample", "correct"]).sort("sample")
    correct = rows["correct"].to_numpy().astype(bool)
    measured = result.measured
    hits = measured.top1 * measured.images
    if len(correct) != measured.images or not abs(correct.sum() - hits) < 0.5:
        raise KeeprateError(f"{result.id}.json: its figures are not those of its rows")
    return _Outcome(result, rows["sample"].to_list(), correct)


def _titles(examples: Mapping[str, Result]) -> dict[str, str]:
    """A readable title for each group, numbered where that would not tell them apart."""
    titles: dict[str, str] = {}
    for key in sorted(examples):
        run = examples[key].run
        count = f"{run.data.images} {run.backbone.samples}"
        plain = f"{run.backbone.name} on {run.data.name}, {count}, {run.precision}"
        same = sum(title == plain or title.startswith(f"{plain} #") for title in titles.values())
        titles[key] = f"{plain} #{same + 1}" if same else plain
    return titles


def _group(
    title: str, outcomes: Sequence[_Outcome], labels: Mapping[str, str], problems: list[str]
) -> Group:
    reference = _reference(outcomes)
    if reference is None:
        problems.append(f"{title}: no unpruned run to compare with")
    lines = []
    for outcome in outcomes:
        paired = reference is not None and reference.samples == outcome.samples
        if reference is not None and not paired:
            problems.append(f"{outcome.result.id}: other images than {reference.result.id}")
        against = reference if paired and outcome is not reference else None
        lines.append(_line(title, labels[outcome.result.id], outcome, against))
    lines.sort(key=lambda line: (line.macs_total, line.label, line.id))
    chosen = reference.result.id if reference else None
    unpruned = next((line for line in lines if line.id == chosen), None)
    return Group(title, _facts([each.result for each in outcomes]), tuple(lines), unpruned)


def _reference(outcomes: Sequence[_Outcome]) -> _Outcome | None:
    """The unpruned run, computed as it stands and with the lowest seed where there are several."""
    plain = [outcome for outcome in outcomes if not outcome.result.run.reduces]
    return min(
        plain,
        key=lambda each: (each.result.run.empty_last_mlp, each.result.run.seed, each.result.id),
        default=None,
    )


def _line(title: str, label: str, outcome: _Outcome, reference: _Outcome | None) -> Line:
    result = outcome.result
    run, measured, macs = result.run, result.measured, result.measured.macs
    low, high = wilson_interval(int(outcome.correct.sum()), measured.images)
    difference = _against(outcome, reference)
    throughput = measured.throughput
    return Line(
        id=result.id,
        group=title,
        label=label,
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
        top1_percent=100 * float(outcome.correct.mean()),
        top1_low_percent=100 * low,
        top1_high_percent=100 * high,
        difference_points=difference[0],
        difference_low_points=difference[1],
        difference_high_points=difference[2],
        p_value=difference[3],
        top5_percent=100 * measured.top5,
        agreement_percent=100 * measured.agreement,
        kl_nats=measured.kl,
        throughput_ratio=throughput.ratio if throughput else None,
        images_per_second=throughput.images_per_second if throughput else None,
        tokens=", ".join(f"{count:.4g}" for count in measured.tokens),
    )


_Differences = tuple[float, float, float, float] | tuple[None, None, None, None]


def _against(outcome: _Outcome, reference: _Outcome | None) -> _Differences:
    """Difference, low and high in percentage points, and the p-value."""
    if reference is None:
        return None, None, None, None
    points = [100 * share for share in paired_difference(outcome.correct, reference.correct)]
    return points[0], points[1], points[2], mcnemar_exact(outcome.correct, reference.correct)


def _facts(results: Sequence[Result]) -> Facts:
    run, measured = results[0].run, results[0].measured
    speeds = [each.measured.throughput for each in results if each.measured.throughput]
    return Facts(
        backbone=run.backbone.name,
        backbone_class=run.backbone.cls,
        weights=run.backbone.weights,
        weights_sha256=run.backbone.weights_sha256,
        image_size=run.backbone.image_size,
        num_parameters=run.backbone.num_parameters,
        unpruned_macs=measured.macs.unpruned,
        data=f"{run.data.name} {text_of({**run.data.places, **run.data.parameters})}".rstrip(),
        images=measured.images,
        skipped=len(run.data.skipped),
        precision=run.precision,
        devices=_distinct(each.environment.device for each in results),
        throughputs=_distinct(
            f"{speed.device}, {speed.precision}, batch size {speed.batch_size}" for speed in speeds
        ),
    )


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))
