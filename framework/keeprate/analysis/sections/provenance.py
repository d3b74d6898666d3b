"""Where each figure comes from, and the command that computes it again."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...results.labels import text_of
from ...results.records import Environment, RunInfo
from ..runs import Judged

_SHIPPED = "shipped with "
_PLACED = ("pretrained", "random weights")
"""Weights that are no file."""


def provenance(judged: Judged) -> Provenance:
    """Everything a reader needs to find the run again, or to compute it anew."""
    run, ran = judged.run, judged.result.environment
    return Provenance(
        run_id=judged.id,
        label=judged.label,
        method_origin=run.method_origin,
        parameters=text_of(run.parameters),
        schedule=run.schedule,
        budget=run.budget or "",
        seed=run.seed,
        model=run.backbone.name,
        weights=run.backbone.weights,
        weights_sha256=run.backbone.weights_sha256,
        structure_sha256=run.backbone.structure_sha256,
        data=f"{run.data.name} {text_of({**run.data.places, **run.data.parameters})}".rstrip(),
        data_fingerprint=run.data.fingerprint,
        images=judged.result.measured.images,
        precision=run.precision,
        device=ran.device,
        batch_size=ran.batch_size,
        versions=tuple(sorted(ran.versions.items())),
        sources=tuple(sorted(run.sources.items())),
        git_revision=ran.git_revision,
        started=ran.started,
        seconds=judged.result.measured.wall_seconds,
        notes=ran.notes,
        command=command_of(run, ran),
    )


def command_of(run: RunInfo, ran: Environment) -> str:
    """The `keeprate compare` that computes one run again, beside the unpruned one.

    Files are named as they were; weights by the name of their file alone, which is all that is
    kept of it.
    """
    return _command(ran, [run], [run])


def commands_of(runs: Sequence[Judged]) -> tuple[str, ...]:
    """A few `keeprate compare` that compute these runs: methods at the same costs go together."""
    cells: dict[tuple[object, ...], dict[str, list[Judged]]] = {}
    for each in (judged for judged in runs if judged.run.reduces):
        schedule = each.run.schedule if each.run.budget else None
        cell = cells.setdefault((*_options(each.run, each.result.environment), schedule), {})
        cell.setdefault(_method(each.run), []).append(each)
    commands: dict[str, None] = {}
    for methods in cells.values():
        for members in _at_the_same_costs(methods.values()):
            distinct = {_method(each.run): each.run for each in members}
            command = _command(
                members[0].result.environment, list(distinct.values()), [m.run for m in members]
            )
            commands[command] = None
    return tuple(commands) or (command_of(runs[0].run, runs[0].result.environment),)


def _at_the_same_costs(methods: Iterable[list[Judged]]) -> list[list[Judged]]:
    """The runs of methods, those put together that were run at the same schedules and budgets."""
    together: dict[frozenset[object], list[Judged]] = defaultdict(list)
    for members in methods:
        together[frozenset((m.run.schedule, m.run.budget) for m in members)] += members
    return list(together.values())


def _command(ran: Environment, methods: Sequence[RunInfo], costs: Sequence[RunInfo]) -> str:
    """`costs` are the runs whose schedules and budgets are asked for, of every method."""
    words = ["keeprate", *_plugins(methods), "compare", *_options(methods[0], ran)]
    for each in methods:
        words += ["--method", _method(each)]
    for schedule in dict.fromkeys(each.schedule for each in costs if each.schedule):
        words += ["--schedule", schedule]
    for budget in dict.fromkeys(each.budget for each in costs if each.budget):
        words += ["--budget", budget]
    return shlex.join(words)


def _plugins(methods: Sequence[RunInfo]) -> list[str]:
    files = dict.fromkeys(each.method_origin for each in methods)
    return [word for file in files if file.endswith(".py") for word in ("--plugin", file)]


def _options(run: RunInfo, ran: Environment) -> list[str]:
    """What all runs of one command have in common."""
    words: list[str] = []
    backbone = run.backbone
    if not backbone.weights.startswith(_SHIPPED):
        words += ["--model", backbone.name]
        if backbone.weights not in _PLACED:
            words += ["--weights", backbone.weights]
        words += _image_size(run)
    data = {**run.data.places, **run.data.parameters}
    words += ["--data", _spec(run.data.name, data), "--limit", str(run.data.images)]
    words += ["--precision", run.precision, "--batch-size", str(ran.batch_size)]
    if run.data.skipped:
        words.append("--skip-bad")
    if run.empty_last_mlp:
        words.append("--empty-last-mlp")
    if run.seed and "seed" not in run.parameters:
        words += ["--seed", str(run.seed)]
    return words


def _image_size(run: RunInfo) -> list[str]:
    """The size of images, unless the model's name says it or the model fixes it."""
    height, width = run.backbone.image_size
    name = run.backbone.name
    if name.startswith("hf:") or height == 1 or (height == width and str(height) in name):
        return []
    return ["--image-size", str(height) if height == width else f"{height}x{width}"]


def _method(run: RunInfo) -> str:
    return _spec(run.method, run.parameters)


def _spec(name: str, values: Mapping[str, object]) -> str:
    """A method or data set with its parameters, as the command line takes it."""
    spelled = ",".join(text_of({key: value}) for key, value in values.items())
    return f"{name}:{spelled}" if spelled else name


@dataclass(frozen=True)
class Provenance:
    """Where the figures of a run come from, and the `command` that computes them again.

    `weights` is the file or name; `data` the name with its parameters and places;
    `data_fingerprint` a hash of all samples; `versions` are (package, version); `sources` are
    (what, SHA-256) of the code that plugins brought. `started` is an ISO 8601 time.
    """

    run_id: str
    label: str
    method_origin: str
    parameters: str
    schedule: str
    budget: str
    seed: int
    model: str
    weights: str
    weights_sha256: str
    structure_sha256: str
    data: str
    data_fingerprint: str
    images: int
    precision: str
    device: str
    batch_size: int
    versions: tuple[tuple[str, str], ...]
    sources: tuple[tuple[str, str], ...]
    git_revision: str | None
    started: str
    seconds: float
    notes: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class FailedRun:
    """A run that failed and is in no table; `command` tries it again."""

    run_id: str
    label: str
    error: str
    started: str
    command: str


@dataclass(frozen=True)
class SkippedSample:
    """A sample that was left out, and why."""

    sample: str
    reason: str
