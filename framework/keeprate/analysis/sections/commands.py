"""The command lines that compute stored runs again."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ...request import ModelSpec, Request, RunSpec
from ...results.labels import text_of
from ...results.records import Environment, RunInfo
from ..rerun import request_of
from ..runs import ScoredRun


def command_of(run: RunInfo, ran: Environment) -> str:
    """The `keeprate compare` that computes one run again, beside the unpruned one.

    Files are named as `keeprate.asked_again` names them.
    """
    return _command([run], [request_of(run, ran.batch_size)])


def commands_of(runs: Sequence[ScoredRun]) -> tuple[str, ...]:
    """A few `keeprate compare` that compute these runs: methods at the same costs go together."""
    cells: dict[tuple[object, ...], dict[str, list[ScoredRun]]] = {}
    for each in (judged for judged in runs if judged.run.reduces):
        request = _asked(each)
        schedule = each.run.schedule if each.run.budget else None
        cell = cells.setdefault((*_options(request), schedule), {})
        cell.setdefault(_method(request.runs[0]), []).append(each)
    together = [
        members for methods in cells.values() for members in _at_the_same_costs(methods.values())
    ]
    commands = [_command([m.run for m in each], [_asked(m) for m in each]) for each in together]
    return tuple(dict.fromkeys(commands)) or (_command([runs[0].run], [_asked(runs[0])]),)


def plugin_words(runs: Iterable[RunInfo]) -> list[str]:
    """The options that load the files which brought the methods, models and data sets of runs."""
    origins = [
        origin
        for run in runs
        for origin in (run.method_origin, run.backbone_origin, run.data_origin)
    ]
    return _repeated("--plugin", (each for each in origins if each.endswith(".py")))


def _asked(judged: ScoredRun) -> Request:
    return request_of(judged.run, judged.result.environment.batch_size)


def _at_the_same_costs(methods: Iterable[list[ScoredRun]]) -> list[list[ScoredRun]]:
    """The runs of methods, those put together that were run at the same schedules and budgets."""
    together: dict[frozenset[object], list[ScoredRun]] = defaultdict(list)
    for members in methods:
        together[frozenset((m.run.schedule, m.run.budget) for m in members)] += members
    return list(together.values())


def _command(runs: Sequence[RunInfo], requests: Sequence[Request]) -> str:
    """For requests that agree in all but methods and costs, of which every method has every one."""
    words = ["keeprate", *plugin_words(runs), "compare", *_options(requests[0])]
    specs = [spec for request in requests for spec in request.runs]
    words += _repeated("--method", (_method(spec) for spec in specs))
    words += _repeated("--schedule", (spec.cost.schedule for spec in specs))
    words += _repeated("--budget", (spec.cost.budget for spec in specs))
    return shlex.join(words)


def _repeated(option: str, values: Iterable[str | None]) -> list[str]:
    return [word for value in dict.fromkeys(values) if value for word in (option, value)]


def _options(request: Request) -> list[str]:
    """What all runs of one command have in common."""
    options, data = request.options, request.data
    words = [*_model(request.model), "--data", _spec(data.name or "", data.values)]
    words += ["--limit", str(options.limit), "--precision", options.loop.precision]
    words += ["--batch-size", str(options.loop.batch_size)]
    words += ["--skip-bad"] * options.skip_bad + ["--empty-last-mlp"] * options.empty_last_mlp
    return [*words, "--seed", str(options.seed)] if options.seed else words


def _model(spec: ModelSpec) -> list[str]:
    given = {"--model": spec.name, "--weights": spec.weights}
    words = [word for option, value in given.items() if value for word in (option, str(value))]
    if spec.image_size is None:
        return words
    height, width = spec.image_size
    return [*words, "--image-size", str(height) if height == width else f"{height}x{width}"]


def _method(spec: RunSpec) -> str:
    return _spec(spec.method, spec.values)


def _spec(name: str, values: Mapping[str, object]) -> str:
    """A method or data set with its parameters, as the command line takes it."""
    spelled = ",".join(text_of({key: value}) for key, value in values.items())
    return f"{name}:{spelled}" if spelled else name
