"""`keeprate compare`: several methods at several costs, a report at the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import KeeprateError
from .options import ImageSize, plugin_options

if TYPE_CHECKING:
    from ..comparison import Options, Wanted
    from ..data import DataSet
    from ..method import Method
    from ..models import LoadedModel

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu")
DEFAULT_BUDGETS = ("80%", "65%", "50%")


@dataclass(frozen=True)
class Asked:
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
    click.option("--throughput/--no-throughput", default=True, help="Measure speed as well."),
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
    asked = Asked(**options)
    check_loop(asked)
    methods = chosen_methods(asked)
    check_costs(asked, methods)
    data = chosen_data(asked.data)
    wanted = chosen_runs(asked, methods)

    from ..comparison import Comparison, Reporter
    from ..evaluation import is_first_process
    from ..results import Store
    from .progress import progress
    from .report import print_table, summarise_folder, write_reports

    store = Store(asked.runs / (asked.name or default_name(asked, data)))
    loaded = chosen_model(asked, data)
    if not asked.methods:
        wanted = [each for each in wanted if _fits(each.method, loaded)]
    comparison = Comparison(loaded, data, wanted, loop_options(asked, data))
    comparison.run(store, Reporter(lambda line: click.echo(line, err=True), progress))
    if not is_first_process():
        return
    summary = summarise_folder(store.folder)
    print_table(summary)
    for path in write_reports(store.folder, summary=summary):
        click.echo(f"Wrote {path}")


def chosen_data(spec: str | None) -> DataSet:
    """Return the data set named, or the one that ships with its own classifier.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    from ..parameters import build, parse_spec
    from ..plugins import registry

    if spec is not None:
        name, values = parse_spec(spec)
        return build("data set", registry().dataset(name), values)
    for offer in registry().datasets.values():
        if offer.cls.embedded:
            return offer.cls()
    raise KeeprateError("No data set ships with its own classifier here: name one with --data.")


def chosen_methods(asked: Asked) -> list[Method]:
    """Return the methods named, or all that reduce tokens.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    from ..parameters import parse_spec
    from ..plugins import registry

    specs = [parse_spec(spec) for spec in asked.methods]
    if not specs:
        offers = registry().methods.values()
        specs = [(offer.name, {}) for offer in offers if offer.cls.reduces]
    return [_seeded(registry().method(name), values, asked.seed) for name, values in specs]


def check_costs(asked: Asked, methods: Sequence[Method]) -> None:
    """Raise KeeprateError for a schedule or budget that cannot be read, before anything heavy."""
    from ..budget import parse_budget
    from ..plan import preset_of
    from ..schedule import parse_schedule

    for budget in asked.budgets:
        parse_budget(budget)
    for schedule in asked.schedules:
        if not any(preset_of(type(method), schedule) for method in methods):
            parse_schedule(schedule)


def chosen_runs(asked: Asked, methods: Sequence[Method]) -> list[Wanted]:
    """Return every method at every cost asked for; the unpruned model is always run as well."""
    from ..comparison import Cost

    methods = [method for method in methods if method.reduces]
    budgets = asked.budgets or (() if asked.schedules else DEFAULT_BUDGETS)
    costs = [
        Cost(schedule, budget)
        for schedule in asked.schedules or (None,)
        for budget in budgets or (None,)
    ]
    return [_preset_applied(method, cost) for method in methods for cost in costs]


def chosen_model(asked: Asked, data: DataSet) -> LoadedModel:
    """Return the timm model named, or the data set's own classifier.

    Raises KeeprateError where there is neither, or the weights do not fit.
    """
    from ..models import LoadedModel, load_model, weights_sha256

    if asked.model is not None:
        return load_model(asked.model, weights=asked.weights, image_size=asked.image_size)
    if asked.weights is not None or asked.image_size is not None:
        raise KeeprateError("--weights and --image-size need --model NAME.")
    model = data.classifier()
    if model is None:
        raise KeeprateError(f"Data set '{data.name}' ships no classifier: name one with --model.")
    return LoadedModel(
        model, f"{data.name} classifier", f"shipped with {data.name}", weights_sha256(model)
    )


def check_loop(asked: Asked) -> None:
    """Raise KeeprateError for a name, precision or accelerator there is not."""
    from ..errors import unknown_name

    if asked.name is not None and not re.fullmatch(r"(?!\.+$)[\w.+ -]+", asked.name):
        raise KeeprateError(f"--name '{asked.name}' must be one plain folder name.")
    if asked.accelerator not in ACCELERATORS:
        raise unknown_name("accelerator", asked.accelerator, ACCELERATORS)

    known = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
    if asked.precision not in known:
        raise unknown_name("precision", asked.precision, known)


def loop_options(asked: Asked, data: DataSet) -> Options:
    """Turn the typed options into those of the comparison."""
    import os

    from ..comparison import Options
    from ..data import TextDataSet
    from ..evaluation import LoopOptions

    workers = asked.workers
    if workers is None:
        nothing_to_decode = data.embedded or isinstance(data, TextDataSet)
        workers = 0 if nothing_to_decode else min(8, os.cpu_count() or 1)
    loop = LoopOptions(asked.batch_size, workers, asked.precision, asked.accelerator, asked.devices)
    return Options(
        loop=loop,
        seed=asked.seed,
        limit=asked.limit,
        skip_bad=asked.skip_bad,
        empty_last_mlp=asked.empty_last_mlp,
        force=asked.force,
        throughput=asked.throughput,
    )


def default_name(asked: Asked, data: DataSet) -> str:
    """Return the folder's name for a comparison that was not named."""
    parts = [data.name] if asked.model is None else [asked.model, data.name]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))


def _seeded(cls: type[Method], values: dict[str, str], seed: int) -> Method:
    from ..parameters import build, parameters_of

    takes_seed = any(parameter.name == "seed" for parameter in parameters_of(cls))
    given: dict[str, object] = {"seed": seed} if takes_seed else {}
    return build("method", cls, {**given, **values})


def _preset_applied(method: Method, cost: Any) -> Wanted:
    from ..comparison import Wanted
    from ..parameters import build, values_of
    from ..plan import preset_of

    preset = preset_of(type(method), cost.schedule)
    if preset is None:
        return Wanted(method, cost)
    values = {**values_of(method), **preset.parameters}
    return Wanted(build("method", type(method), values), cost)


def _fits(method: Method, loaded: LoadedModel) -> bool:
    from ..backbones import adapt

    return not method.requires_class_token or adapt(loaded.model).has_class_token
