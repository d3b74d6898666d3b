"""The command lines that compute stored runs again."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ...plugins.parameters import spec_text
from ...request import CalibrationSpec, ModelSpec, Request, RunSpec
from ...results.records import Environment, RunInfo
from ..rerun import request_of
from ..runs import ScoredRun


def command_of(run: RunInfo, ran: Environment) -> str:
    """Return the `keeprate compare` that computes one run, and the unpruned one, again.

    Files are named as in `keeprate.analysis.rerun.request_of`.
    """
    return _command([run], [request_of(run, ran.batch_size)])


def commands_of(runs: Sequence[ScoredRun]) -> tuple[str, ...]:
    """Return a few `keeprate compare` that compute these runs; methods of equal costs share one."""
    cells: dict[tuple[object, ...], dict[str, list[ScoredRun]]] = {}
    for scored_run in (run for run in runs if run.run.reduces):
        request = _request(scored_run)
        # a budget is solved for one schedule, so that only runs of the same one share a command
        schedule = scored_run.run.schedule if scored_run.run.budget else None
        runs_by_method = cells.setdefault((*_options(request), schedule), {})
        runs_by_method.setdefault(_method(request.runs[0]), []).append(scored_run)
    run_sets = [
        members for methods in cells.values() for members in _at_the_same_costs(methods.values())
    ]
    commands = [
        _command([run.run for run in run_set], [_request(run) for run in run_set])
        for run_set in run_sets
    ]
    # every command runs the unpruned model as well; a group of it alone needs its own command
    return tuple(dict.fromkeys(commands)) or (_command([runs[0].run], [_request(runs[0])]),)


def plugin_words(runs: Iterable[RunInfo]) -> list[str]:
    """Return the options that load the plugin files of the runs: methods, models and data sets."""
    origins = [
        origin
        for run in runs
        for origin in (run.method_origin, run.backbone_origin, run.data_origin)
    ]
    # origins of installed plugins are packages, which load by themselves
    return _repeated("--plugin", (origin for origin in origins if origin.endswith(".py")))


def _request(scored_run: ScoredRun) -> Request:
    return request_of(scored_run.run, scored_run.result.environment.batch_size)


def _at_the_same_costs(methods: Iterable[list[ScoredRun]]) -> list[list[ScoredRun]]:
    """Return the runs of methods in lists: one list for each set of schedules and budgets."""
    by_costs: dict[frozenset[object], list[ScoredRun]] = defaultdict(list)
    for members in methods:
        by_costs[frozenset((run.run.schedule, run.run.budget) for run in members)] += members
    return list(by_costs.values())


def _command(runs: Sequence[RunInfo], requests: Sequence[Request]) -> str:
    """Return one command for requests that differ in methods and costs only, fully crossed."""
    words = ["keeprate", *plugin_words(runs), "compare", *_options(requests[0])]
    specs = [spec for request in requests for spec in request.runs]
    words += _repeated("--method", (_method(spec) for spec in specs))
    words += _repeated("--schedule", (spec.cost.schedule for spec in specs))
    words += _repeated("--budget", (spec.cost.budget for spec in specs))
    return shlex.join(words)


def _repeated(option: str, values: Iterable[str | None]) -> list[str]:
    return [word for value in dict.fromkeys(values) if value for word in (option, value)]


def _options(request: Request) -> list[str]:
    """Return the options that all runs of one command share."""
    options, data = request.options, request.data
    words = [*_model(request.model), "--data", spec_text(data.name or "", data.values)]
    words += ["--limit", str(options.limit), "--precision", options.loop.precision]
    if (part := options.part) is not None:
        words += ["--part", f"{part.start!r}..{part.end!r}"]
    words += ["--batch-size", str(options.loop.batch_size)]
    words += _calibration(options.calibration)
    words += ["--skip-bad"] * options.skip_bad + ["--empty-last-mlp"] * options.empty_last_mlp
    return [*words, "--seed", str(options.seed)] if options.seed else words


def _calibration(spec: CalibrationSpec) -> list[str]:
    """Return the options of a calibration that is not the default one."""
    words = []
    if spec.data is not None:
        words += ["--calibration", spec_text(spec.data.name or "", spec.data.values)]
    if spec.images != CalibrationSpec.images:
        words += ["--calibration-images", str(spec.images)]
    return [*words, "--calibration-seed", str(spec.seed)] if spec.seed else words


def _model(spec: ModelSpec) -> list[str]:
    values = {"--model": spec.name, "--weights": spec.weights}
    words = [word for option, value in values.items() if value for word in (option, str(value))]
    if spec.image_size is not None:
        height, width = spec.image_size
        words += ["--image-size", str(height) if height == width else f"{height}x{width}"]
    for name, value in spec.changes.given.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", text]
    return words


def _method(spec: RunSpec) -> str:
    return spec_text(spec.method, spec.values)
