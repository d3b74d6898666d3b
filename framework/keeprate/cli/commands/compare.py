"""`keeprate compare`: runs several methods at several costs, and writes a report."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import KeeprateError
from ...request import ACCELERATORS, DEFAULT_BUDGETS, PRECISIONS, plain_folder
from ..image_options import data_spec
from ..options import ImageSize, plugin_options

if TYPE_CHECKING:
    from ...dataset import DataSet
    from ...method import Method
    from ...request import Options, Request, RunSpec


@dataclass(frozen=True)
class CompareOptions:
    """The options of the command as they were typed."""

    data: str | None
    model: str | None
    weights: Path | None
    image_size: tuple[int, int] | None
    methods: tuple[str, ...]
    schedules: tuple[str, ...]
    budgets: tuple[str, ...]
    name: str | None
    runs: Path
    limit: int | None
    skip_bad: bool
    empty_last_mlp: bool
    seed: int
    force: bool
    throughput: bool
    batch_size: int
    workers: int | None
    precision: str
    accelerator: str
    devices: int
    cache_decoded: Path | None
    engine: str | None
    loggers: tuple[str, ...]


OPTIONS = (
    click.option("--data", metavar="NAME[:PARAMETERS]", help="Data set; see `keeprate list`."),
    click.option("--model", metavar="NAME", help="timm's, or hf:FOLDER; default: the data's own."),
    click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Its weights."),
    click.option(
        "--image-size", type=ImageSize(), metavar="PIXELS", help="Side, or HEIGHTxWIDTH, of images."
    ),
    click.option(
        "--method",
        "methods",
        multiple=True,
        metavar="NAME[:PARAMETERS]",
        help="Method, as tome:proportional_attention=false; repeatable; default: all that fit.",
    ),
    click.option(
        "--schedule", "schedules", multiple=True, metavar="SCHEDULE", help="As r=13; repeatable."
    ),
    click.option(
        "--budget",
        "budgets",
        multiple=True,
        metavar="COST",
        help="GMACs (0.8) or a share (65%); repeatable; default: 80%, 65%, 50%.",
    ),
    click.option("--name", metavar="NAME", help="Folder of the results under --runs."),
    click.option("--runs", type=click.Path(path_type=Path), default=Path("runs")),
    click.option("--limit", type=click.IntRange(1), help="Only this many images, evenly spread."),
    click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read."),
    click.option("--empty-last-mlp", is_flag=True, help="Drop all patches before the last MLP."),
    click.option("--seed", type=int, default=0, show_default=True),
    click.option("--force", is_flag=True, help="Run again what is finished."),
    click.option(
        "--throughput/--no-throughput", default=True, help="Measure speed as well; the default."
    ),
    click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True),
    click.option("--workers", type=click.IntRange(0), help="Processes that decode images."),
    click.option(
        "--precision",
        default="32-true",
        show_default=True,
        help="As in Lightning: 32-true, bf16-mixed, 16-mixed, bf16-true, 16-true, 64-true.",
    ),
    click.option("--accelerator", default="auto", show_default=True, help="auto, cpu, gpu, ..."),
    click.option("--devices", type=click.IntRange(1), default=1, show_default=True),
    click.option(
        "--cache-decoded",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Keep decoded images there, and use those that are.",
    ),
    click.option(
        "--engine", metavar="NAME[:PARAMETERS]", help="What runs the runs; default: here."
    ),
    click.option(
        "--logger",
        "loggers",
        multiple=True,
        metavar="NAME",
        help="Also log with csv, tensorboard, mlflow or wandb; repeatable.",
    ),
)


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command()
@_with_options
@plugin_options
def compare(**options: Any) -> None:
    """Run methods at equal cost on a model and a data set, and write a report.

    Without options: all methods on the data set and the classifier that come with keeprate.
    """
    typed = CompareOptions(**options)
    check_loop(typed)
    runs = chosen_runs(typed)
    request = asked_for(typed, runs)

    # imported after the options are checked, so that a mistake is told at once
    from ..session import run_and_report

    folder = typed.runs / (typed.name or default_name(typed))
    status = run_and_report([request], folder, engine=typed.engine, loggers=typed.loggers)
    raise click.exceptions.Exit(status)


def asked_for(asked: CompareOptions, runs: Sequence[RunSpec]) -> Request:
    """Return the request for the typed options; its names are looked up later."""
    from ...request import ModelSpec, Request

    return Request(
        model=ModelSpec(asked.model, asked.weights, asked.image_size),
        data=data_spec(asked.data),
        runs=tuple(runs),
        options=loop_options(asked),
        only_fitting=not asked.methods,
    )


def chosen_runs(asked: CompareOptions) -> list[RunSpec]:
    """Return a run of each named method, or of all that reduce tokens, at each cost.

    Raises KeeprateError for unknown names and for schedules and budgets that cannot be read.
    """
    from ...plugins.parameters import parse_spec
    from ...plugins.registry import registry
    from ...request import Cost, RunSpec

    specs = [parse_spec(spec) for spec in asked.methods]
    if not specs:
        offers = registry().methods.values()
        specs = [(offer.name, {}) for offer in offers if offer.cls.reduces]
    classes = {name: registry().method(name) for name, _ in specs}
    check_costs(asked, list(classes.values()))
    budgets = asked.budgets or (() if asked.schedules else DEFAULT_BUDGETS)
    costs = [
        Cost(schedule, budget)
        for schedule in asked.schedules or (None,)
        for budget in budgets or (None,)
    ]
    # a method that does not reduce is the unpruned run, which every comparison has already
    reducing = [(name, values) for name, values in specs if classes[name].reduces]
    return [RunSpec(name, values, cost) for name, values in reducing for cost in costs]


def check_costs(asked: CompareOptions, methods: Sequence[type[Method]]) -> None:
    """Raise KeeprateError for a schedule or budget that cannot be read."""
    from ...costs import parse_budget
    from ...reduction.plan import preset_of
    from ...reduction.schedule import parse_schedule

    for budget in asked.budgets:
        parse_budget(budget)
    for schedule in asked.schedules:
        # a name of a preset is a schedule for those methods that have it
        if not any(preset_of(method, schedule) for method in methods):
            parse_schedule(schedule)


def check_loop(asked: CompareOptions) -> None:
    """Raise KeeprateError for an unusable name and an unknown precision or accelerator."""
    from ...errors import unknown_name

    if asked.name is not None:
        try:
            plain_folder(asked.name)
        except ValueError as error:
            raise KeeprateError(f"--name {error}") from error
    if asked.accelerator not in ACCELERATORS:
        raise unknown_name("accelerator", asked.accelerator, ACCELERATORS)

    if asked.precision not in PRECISIONS:
        raise unknown_name("precision", asked.precision, PRECISIONS)


def loop_options(asked: CompareOptions) -> Options:
    """Turn the typed options into the options of the comparison."""
    from ...data.samples import default_workers
    from ...request import LoopOptions, Options

    workers = asked.workers
    if workers is None:
        workers = default_workers(chosen_class(asked.data))
    loop = LoopOptions(asked.batch_size, workers, asked.precision, asked.accelerator, asked.devices)
    return Options(
        loop=loop,
        seed=asked.seed,
        limit=asked.limit,
        skip_bad=asked.skip_bad,
        empty_last_mlp=asked.empty_last_mlp,
        force=asked.force,
        throughput=asked.throughput,
        cache_decoded=asked.cache_decoded,
    )


def chosen_class(spec: str | None) -> type[DataSet]:
    """Return the class of the named data set, or of the one that ships with its own classifier.

    Raises KeeprateError for an unknown name.
    """
    from ...plugins.parameters import parse_spec
    from ...plugins.registry import registry

    plugins = registry()
    return plugins.embedded_dataset() if spec is None else plugins.dataset(parse_spec(spec)[0])


def default_name(asked: CompareOptions) -> str:
    """Return the folder name of a comparison without --name."""
    data = chosen_class(asked.data).name
    parts = [data] if asked.model is None else [asked.model, data]
    # names of models and data sets may have "/" and ":" in them
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))
