"""`keeprate.compare`: runs a comparison from Python, on names or on objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from torch import nn

from .backbones.loading.loaded import LoadedModel, config_of, weights_sha256
from .comparison_table import ComparisonTable
from .data.samples import default_workers
from .dataset import DataSet
from .errors import KeeprateError, unknown_name
from .evaluation.event_log import EventLog
from .evaluation.events import Event, Listener, to_all
from .evaluation.interrupts import StopSwitch
from .evaluation.runner import execute
from .plugins.parameters import parse_spec
from .plugins.registry import registry
from .reduction.reduce import copied
from .request import (
    ACCELERATORS,
    PRECISIONS,
    DataSpec,
    LoopOptions,
    ModelSpec,
    Options,
    Request,
    plain_folder,
)
from .results.store import Store
from .study.build import build_engine
from .study.expand import Named, costs_of, entries_of, seeds_of

if TYPE_CHECKING:
    from .evaluation.comparison_runner import StudyOutcome

RUNS = Path("runs")


def compare(  # noqa: PLR0913  the options of `keeprate compare`
    model: nn.Module | str | None = None,
    data: DataSet | str | None = None,
    *,
    methods: Named | Sequence[Named] | None = None,
    budgets: str | float | Sequence[str | float] | None = None,
    schedules: str | Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    weights: Path | str | None = None,
    image_size: int | tuple[int, int] | None = None,
    limit: int | None = None,
    skip_bad: bool = False,
    empty_last_mlp: bool = False,
    batch_size: int = 64,
    workers: int | None = None,
    accelerator: str = "auto",
    precision: str = "32-true",
    throughput: bool = False,
    cache_decoded: Path | str | None = None,
    engine: str | None = None,
    force: bool = False,
    name: str | None = None,
    folder: Path | str | None = None,
    progress: bool = True,
) -> ComparisonTable:
    """Run methods at equal cost on a model and a data set; return a table of the results.

    `model` is a name as in `keeprate compare --model` (with `weights` and `image_size` in pixels),
    or a module: a copy of it is compared, in eval mode, and its `pretrained_cfg` says how images
    are prepared. `data` is a name with parameters ("imagenet:FOLDER") or a data set. The default
    model and data set ship with keeprate. `methods` are names with parameters
    ("zero-tprune:pattern=I'-S"), classes of method, as `keeprate.as_method` makes them, or methods;
    the default is all registered methods that suit the model. Each runs at every budget (GMACs per
    image, or a share as "65%") with every schedule, and with every seed if it has one.

    Runs are stored in `folder`, by default runs/NAME. Runs that are already there, or in a folder
    beside it, are not computed again. The unpruned model always runs, too. docs/python.md explains
    the other arguments. Only the progress is printed, on standard error.

    Raises KeeprateError, before anything is computed, if an argument is unknown, missing or does
    not fit, and KeeprateError if no run of a method could be finished. Raises KeyboardInterrupt
    after Ctrl-C; the same call then continues where it stopped.
    """
    entries = entries_of(methods)
    _check(accelerator, precision, batch_size=batch_size, limit=limit, workers=workers)
    costs = costs_of(schedules, budgets, entries)
    data_spec = _data_spec(data)
    if workers is None:
        workers = default_workers(_data_class(data_spec))
    request = Request(
        model=_model_spec(model, weights, image_size),
        data=data_spec,
        runs=tuple(run for entry in entries for run in entry.runs(costs, seeds_of(seeds))),
        options=Options(
            loop=LoopOptions(batch_size, workers, precision, accelerator),
            seed=seeds_of(seeds)[0],
            limit=limit,
            skip_bad=skip_bad,
            empty_last_mlp=empty_last_mlp,
            force=force,
            throughput=throughput,
            cache_decoded=None if cache_decoded is None else Path(cache_decoded),
        ),
        only_fitting=methods is None,
    )
    location = _store_folder(name, folder, request)
    return _table(location, _execute(request, location, engine, shown=progress))


def _model_spec(
    model: nn.Module | str | None, weights: Path | str | None, image_size: int | Any
) -> ModelSpec:
    if isinstance(model, nn.Module):
        if weights is not None or image_size is not None:
            raise KeeprateError("weights and image_size go with a model's name, not a module.")
        return ModelSpec(built=_loaded(model))
    if model is not None and not isinstance(model, str):
        raise KeeprateError(f"A model is a name or a module, not {model!r}.")
    sides = (image_size, image_size) if isinstance(image_size, int) else image_size
    return ModelSpec(model, None if weights is None else Path(weights), sides)


def _loaded(model: nn.Module) -> LoadedModel:
    """Return a copy of a module, which a run may move and cast, under the module's own name."""
    config = config_of(model)
    if not config and not hasattr(model, "config"):
        raise KeeprateError(
            f"This {type(model).__name__} does not say how its images are prepared: give it a "
            'pretrained_cfg, as {"input_size": (3, 224, 224), "mean": (0.5, 0.5, 0.5), "std": '
            '(0.5, 0.5, 0.5), "interpolation": "bicubic", "crop_pct": 0.9}.'
        )
    parts = [config.get("architecture") or type(model).__name__, config.get("tag")]
    copy = copied(model).eval()
    return LoadedModel(copy, ".".join(filter(None, parts)), "given", weights_sha256(copy))


def _data_spec(data: DataSet | str | None) -> DataSpec:
    if isinstance(data, DataSet):
        return DataSpec(data.name, built=data)
    if data is None or isinstance(data, str):
        return DataSpec() if data is None else DataSpec(*parse_spec(data))
    raise KeeprateError(f"A data set is a name or an instance of keeprate.DataSet, not {data!r}.")


def _data_class(spec: DataSpec) -> type[DataSet]:
    if spec.built is not None:
        return type(spec.built)
    plugins = registry()
    return plugins.embedded_dataset() if spec.name is None else plugins.dataset(spec.name)


def _check(accelerator: str, precision: str, **counts: int | None) -> None:
    """Raise KeeprateError for a setting of the loop that does not exist."""
    if accelerator not in ACCELERATORS:
        raise unknown_name("accelerator", accelerator, ACCELERATORS)
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    for name, count in counts.items():
        least = 0 if name == "workers" else 1
        # an exact match, because a bool is an int as well
        if count is not None and (type(count) is not int or count < least):
            raise KeeprateError(f"{name} must be a whole number from {least}, not {count!r}.")


def _store_folder(name: str | None, folder: Path | str | None, request: Request) -> Path:
    if folder is not None:
        if name is not None:
            raise KeeprateError("name and folder both say where results go: leave one out.")
        return Path(folder)
    if name is None:
        model = request.model.built.name if request.model.built else request.model.name
        parts = [model, _data_class(request.data).name]
        name = re.sub(r"[^\w.-]+", "-", "-".join(filter(None, parts)))
    try:
        return RUNS / plain_folder(name)
    except ValueError as error:
        raise KeeprateError(f"name {error}") from error


def _execute(request: Request, location: Path, engine: str | None, *, shown: bool) -> StudyOutcome:
    from .evaluation.event_log import LOG
    from .evaluation.progress.plain import progress

    built_engine, stop = build_engine(engine), StopSwitch()
    say: Callable[[str], None] = _say if shown else _say_nothing
    # the first Ctrl-C lets the batches in progress be saved, before it is raised below
    with stop.on_signals(say), progress(location) if shown else nullcontext(_ignore) as listen:
        listener: Listener = to_all([listen, EventLog(location / LOG)])
        outcome = execute([request], Store(location), built_engine, listener, stop)
    if stop.is_set:
        raise KeyboardInterrupt(f"{len(outcome.left)} runs left; the same call goes on from here.")
    return outcome


def _table(location: Path, outcome: StudyOutcome) -> ComparisonTable:
    table = ComparisonTable(location, [*outcome.finished, *outcome.reused, *outcome.failed])
    if outcome.failed and not table.frame["reduces"].any():
        raise KeeprateError(f"No run could be finished: {table.problems[0]}")
    return table


def _say(line: str) -> None:
    click.echo(line, err=True)


def _say_nothing(line: str) -> None:
    """Print nothing."""


def _ignore(event: Event) -> None:
    """Show nothing."""
