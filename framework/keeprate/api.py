"""`keeprate.compare`: runs a comparison from Python, on names or on objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import click
from torch import nn

from .backbones.loading.loaded import LoadedModel, config_of, weights_sha256
from .comparison_table import ComparisonTable
from .dataset import DataSet
from .errors import KeeprateError, refuse_unwritable
from .evaluation.distributed import broadcast_from_first, is_first_process
from .evaluation.event_log import EventLog
from .evaluation.events import Event, Listener, to_all
from .evaluation.interrupts import StopSwitch
from .evaluation.runner import execute
from .method import Method
from .reduction.reduce import copied
from .request import DEFAULT_SEEDS, CalibrationSpec, LoopOptions, Options
from .results.store import Store
from .results.weights_origin import WeightsKind, WeightsOrigin
from .study import Arguments, Problems, Study, expand
from .study.build import build_engine

if TYPE_CHECKING:
    from .evaluation.comparison_runner import StudyOutcome

ModelLike: TypeAlias = nn.Module | str
MethodLike: TypeAlias = str | type[Method] | Method | Mapping[str, object]
RUNS: Final = Path("runs")
_NOT_OF_THE_STUDY: Final = ("force", "folder", "progress")


def compare(  # noqa: PLR0913  the options of `keeprate compare`
    model: ModelLike | Sequence[ModelLike] | None = None,
    data: DataSet | str | None = None,
    *,
    methods: MethodLike | Sequence[MethodLike] | None = None,
    budgets: str | float | Sequence[str | float] | None = None,
    schedules: str | Sequence[str] | None = None,
    seeds: int | Sequence[int] = DEFAULT_SEEDS,
    calibration: DataSet | str | None = None,
    calibration_images: int = CalibrationSpec.images,
    calibration_seed: int = CalibrationSpec.seed,
    weights: Path | str | Sequence[Path | str] | None = None,
    image_size: int | tuple[int, int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    interpolation: str | None = None,
    crop_pct: float | None = None,
    limit: int | None = None,
    part: tuple[float, float] | None = None,
    skip_bad: bool = Options.skip_bad,
    empty_last_mlp: bool = Options.empty_last_mlp,
    batch_size: int = LoopOptions.batch_size,
    workers: int | None = None,
    accelerator: str = LoopOptions.accelerator,
    devices: int | str = LoopOptions.devices,
    precision: str = LoopOptions.precision,
    throughput: bool = Options.throughput,
    checkpoint_seconds: float = LoopOptions.checkpoint_seconds,
    checkpoint_batches: int | None = LoopOptions.checkpoint_batches,
    runs_per_pass: int = Options.runs_per_pass,
    cache_decoded: Path | str | None = None,
    engine: str | None = None,
    logger: str | Sequence[str] | None = None,
    force: bool = Options.force,
    name: str | None = None,
    folder: Path | str | None = None,
    progress: bool = True,
) -> ComparisonTable:
    """Run methods at equal cost on a model and a data set; return a table of the results.

    `model` is a name as in `keeprate compare --model` (with `weights`, `image_size` in pixels, and
    `mean` and others where images are to be prepared otherwise than its name says),
    or a module: a copy of it is compared, in eval mode, and its `pretrained_cfg` says how images
    are prepared. Several models, as a list, are one table and one chart. `data` is a name with
    parameters ("imagenet:FOLDER") or a data set. The default model and data set ship with keeprate.
    `methods` are names with parameters ("zero-tprune:pattern=I'-S"), classes of method, as
    `keeprate.as_method` makes them, or methods; the default is all registered methods that suit the
    model. Each runs at every budget (GMACs per image, or a share as "65%") with every schedule, and
    with every seed if it has one. A budget of a method that keeps
    a different number of tokens in every image is solved on images of `calibration`, which are not
    tested.

    Runs are stored in `folder`, by default runs/NAME. Runs that are already there, or in a folder
    beside it, are not computed again. The unpruned model always runs, too. docs/python.md explains
    the other arguments. Only the progress is printed, on standard error.

    Raises KeeprateError, before anything is computed, if an argument is unknown, missing or does
    not fit, and KeeprateError if no run of a method could be finished. Raises KeyboardInterrupt
    after Ctrl-C; the same call then continues where it stopped.
    """
    given = {key: value for key, value in locals().items() if key not in _NOT_OF_THE_STUDY}
    refuse_unwritable([*given.values(), folder])
    if name is not None and folder is not None:
        raise KeeprateError("name and folder both say where results go: leave one out.")
    study = specified(given, force=force)
    location = RUNS / study.name if folder is None else Path(folder)
    return _table(location, _execute(study, location, shown=progress))


def specified(given: Mapping[str, object], *, force: bool = False) -> Study:
    """Return the study that arguments of `compare` ask for; a module in it is copied.

    Raises KeeprateError for whatever is wrong with them.
    """
    model = given.get("model")
    models = model if isinstance(model, list | tuple) else [model]
    loaded = [_loaded(each) if isinstance(each, nn.Module) else each for each in models]
    given = {**given, "model": loaded if len(loaded) != 1 else loaded[0]}
    return expand(Problems(Arguments("these arguments", given)), ask_hub=True, force=force)


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
    origin = WeightsOrigin(WeightsKind.GIVEN)
    return LoadedModel(copy, ".".join(filter(None, parts)), origin, weights_sha256(copy))


def _execute(study: Study, location: Path, *, shown: bool) -> StudyOutcome:
    from .evaluation.event_log import LOG
    from .evaluation.progress.plain import progress
    from .evaluation.progress.wording import not_begun

    # Lightning starts the script again for each further device: these processes tell nothing
    first = is_first_process()
    shown = shown and first
    engine, stop = build_engine(study.spec.engine), StopSwitch()
    logs: list[Listener] = [EventLog(location / LOG), *_lightning_listeners(study, location)]
    say: Callable[[str], None] = _say if shown else _say_nothing
    # the first Ctrl-C lets the batches in progress be saved, before it is raised below
    with stop.on_signals(say), progress(location) if shown else nullcontext(_ignore) as listen:
        listener: Listener = to_all([listen, *logs]) if first else _ignore
        outcome = execute(study.requests, Store(location), engine, listener, stop)
    # the first process stores the runs, and knows how each of them ended
    outcome = broadcast_from_first(outcome)
    if stop.is_set:
        left = ", ".join([f"{len(outcome.left):,} runs left", *not_begun(len(outcome.not_begun))])
        raise KeyboardInterrupt(f"{left}; the same call goes on from here.")
    return outcome


def _lightning_listeners(study: Study, location: Path) -> list[Listener]:
    """Return what logs elsewhere; KeeprateError for a name that is unknown or not installed."""
    from .evaluation.loggers import lightning_listener

    return [lightning_listener(name, location) for name in study.loggers]


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
