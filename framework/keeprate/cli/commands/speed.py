"""`keeprate speed`: how fast methods run, beside the unpruned model and what their counts allow."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import KeeprateError, unknown_name
from ...request import ACCELERATORS, MOST_IMAGES, PRECISIONS
from ..image_options import Numbers
from ..options import ImageSize, plugin_options

if TYPE_CHECKING:
    from ...evaluation.speed import ModelSpeed, SpeedUp
    from ...evaluation.speed_profile import TimeShares
    from ...evaluation.timing import Treatment, Watcher
    from ...reduction.reduced_model import ReducedModel

_HEADINGS = ("method", "GMACs", "images/s", "speed-up", "MACs promise", "fraction", "floor")
_LATENCY = ("p50, ms", "p95, ms")
_MEMORY = "peak, MiB"


@dataclass(frozen=True)
class SpeedOptions:
    """The options of the command as they were typed."""

    model: str
    methods: tuple[str, ...]
    schedule: str | None
    budget: str | None
    batch_size: tuple[int, ...]
    image_size: tuple[int, int] | None
    precision: str
    accelerator: str
    compile: bool
    cuda_graph: bool
    rounds: int
    seconds: float
    profile: bool
    output: Path | None


@click.command()
@click.argument("model")
@click.option(
    "--method",
    "methods",
    multiple=True,
    required=True,
    metavar="NAME[:PARAMETERS]",
    help="Method, as tome:proportional_attention=false; repeatable.",
)
@click.option("--schedule", metavar="SCHEDULE", help="As r=13 or keep=0.7@3,6,9.")
@click.option("--budget", metavar="COST", help="GMACs (0.8) or a share (65%).")
@click.option(
    "--batch-size",
    type=Numbers(),
    default="1,16,64",
    show_default=True,
    metavar="1,16,...",
    help="One table for each.",
)
@click.option(
    "--image-size", type=ImageSize(), metavar="PIXELS", help="Side, or HEIGHTxWIDTH, of images."
)
@click.option("--precision", default="32-true", show_default=True, help="As in Lightning.")
@click.option("--accelerator", default="auto", show_default=True, help="auto, cpu, gpu, ...")
@click.option("--compile", is_flag=True, help="Compile all models with torch.compile.")
@click.option("--cuda-graph", is_flag=True, help="Run all models as CUDA graphs.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    help="At least so many count.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 86_400),
    default=10.0,
    show_default=True,
    help="And as many as this time, per table, allows.",
)
@click.option("--profile", is_flag=True, help="Also tell where the time of each method goes.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Write every round there.",
)
@plugin_options
def speed(**options: Any) -> None:
    """Measure how fast methods run on the model MODEL, beside the unpruned model.

    MODEL is as for `keeprate macs`; weights and images are random. All models run in turns, treated
    alike: of a compiled model the speed-up is that over the compiled unpruned model. "fraction" is
    the part that is kept of what the multiply-accumulates promise, with its 95 % interval; "floor"
    the speed-up of the same numbers of tokens, chosen without a look at any.
    """
    asked = SpeedOptions(**options)
    refuse_mistakes(asked)
    from ...evaluation.speed import measure_speed
    from ...evaluation.timing import Rounds

    models = _models(asked)
    tables = []
    for treatment in treatments(asked):
        with _progress(f"Batches of {treatment.batch_size}") as watch:
            rounds = Rounds(asked.rounds, max(asked.rounds, 10_000), asked.seconds)
            found = measure_speed(models, treatment, rounds, watch=watch)
        click.echo("\n".join(["", title(asked.model, treatment, found), "", *table(found), ""]))
        if asked.profile:
            click.echo("\n".join([*shares_table(_shares(models, found, treatment)), ""]))
        tables.append(record(found, treatment))
    if asked.output is not None:
        from ...results.atomic_files import write_together

        write_together({asked.output: json.dumps(tables, indent=1).encode()})
        click.echo(asked.output)


def refuse_mistakes(asked: SpeedOptions) -> None:
    """Raise KeeprateError for options that cannot be meant, before any model is loaded."""
    from ...costs import parse_budget
    from ...plugins.parameters import parse_spec
    from ...plugins.registry import registry

    if asked.precision not in PRECISIONS:
        raise unknown_name("precision", asked.precision, PRECISIONS)
    if asked.accelerator not in ACCELERATORS:
        raise unknown_name("accelerator", asked.accelerator, ACCELERATORS)
    for batch_size in asked.batch_size:
        if not 1 <= batch_size <= MOST_IMAGES:
            raise KeeprateError(f"--batch-size {batch_size}: 1 to {MOST_IMAGES:,} are possible.")
    if len(set(asked.methods)) < len(asked.methods):
        raise KeeprateError("--method: each method can be named once.")
    if asked.schedule is None and asked.budget is None:
        raise KeeprateError("Say what the methods may cost: --budget 65%, or --schedule r=13.")
    for method in asked.methods:
        registry().method(parse_spec(method)[0])
    if asked.budget is not None:
        parse_budget(asked.budget)
    _refuse_device(asked)


def _refuse_device(asked: SpeedOptions) -> None:
    import torch

    from ..._devices import device_of

    device = device_of(asked.accelerator)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise KeeprateError("--accelerator: there is no CUDA device here.")
    if asked.cuda_graph and device.type != "cuda":
        raise KeeprateError(f"--cuda-graph needs a CUDA device, and the models run on {device}.")


def treatments(asked: SpeedOptions) -> Iterator[Treatment]:
    """Yield how the models of each table are run."""
    from ...evaluation.timing import Treatment

    for batch_size in asked.batch_size:
        yield Treatment(
            asked.precision, asked.accelerator, batch_size, asked.compile, asked.cuda_graph
        )


def _models(asked: SpeedOptions) -> dict[str, ReducedModel]:
    """Make the reduced models, which share the weights of one."""
    from ...backbones.loading.load import check_name, load_model
    from ...backbones.lookup import adapt
    from ...evaluation.speed import reduced_by
    from ...plugins.parameters import parse_spec
    from ...reduction.reduce import resolve_method

    check_name(asked.model)
    specs = {spec: parse_spec(spec) for spec in asked.methods}
    methods = {
        spec: resolve_method(name, asked.schedule, values) for spec, (name, values) in specs.items()
    }
    loaded = load_model(asked.model, pretrained=False, image_size=asked.image_size)
    backbone = adapt(loaded.model.eval())
    return {
        spec: reduced_by(backbone, method, asked.schedule, asked.budget)
        for spec, method in methods.items()
    }


@contextmanager
def _progress(label: str) -> Iterator[Watcher]:
    """Show how much of a measurement is done on stderr, and give what is to be told of it."""
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:

        def watch(turn: int, share: float) -> bool:
            bar.update(max(0, int(1000 * share) - bar.pos))
            return True

        yield watch
        bar.update(1000 - bar.pos)


def title(model: str, treatment: Treatment, found: Mapping[str, SpeedUp]) -> str:
    """Return what a table was measured on: a speed without it says nothing."""
    from ..._devices import device_name

    parts = [model, device_name(treatment.device), treatment.precision]
    parts += ["compiled"] * treatment.compiled + ["CUDA graphs"] * treatment.graphed
    rounds = len(next(iter(found.values())).reduced.seconds)
    return ", ".join([*parts, f"batches of {treatment.batch_size}, {rounds} rounds"])


def table(found: Mapping[str, SpeedUp]) -> list[str]:
    """Return the lines of a table (Markdown) of what was measured, the unpruned model first.

    Latencies are of single images, and the memory of a GPU: elsewhere these columns are not there.
    A model that does not run has its error in place of figures.
    """
    unpruned = next(iter(found.values())).unpruned
    headings = list(_HEADINGS)
    headings += _LATENCY if unpruned.batch_size == 1 else ()
    headings += [_MEMORY] if unpruned.peak_bytes is not None else []
    rows = [["unpruned", *_error(unpruned, "1", "1", "", "")]]
    for name, speed_up in found.items():
        rows.append([name, *_error(speed_up.reduced, *_ratio_texts(speed_up))])
    return aligned([headings, *(row[: len(headings)] for row in rows)])


def _error(speed: ModelSpeed, *ratios: str) -> list[str]:
    """Return the cells of a row: figures, or the error in the first of them."""
    if speed.error is not None:
        kind, message = type(speed.error).__name__, " ".join(str(speed.error).split())
        return [f"{kind}: {message}"[:100].replace("|", "/"), *[""] * 8]
    cells = [f"{speed.macs / 1e9:.3f}", f"{speed.images_per_second:.1f}", *ratios]
    if speed.batch_size == 1:
        cells += [f"{speed.milliseconds(share):.3f}" for share in (0.5, 0.95)]
    if speed.peak_bytes is not None:
        cells.append(f"{speed.peak_bytes / 2**20:.0f}")
    return cells


def _ratio_texts(speed_up: SpeedUp) -> tuple[str, ...]:
    if speed_up.error is not None:
        return ("",) * 4
    ends = speed_up.fraction_interval()
    interval = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
    floor = "" if speed_up.floor_ratio is None else f"{speed_up.floor_ratio:.3f}"
    ratio, promised = f"{speed_up.ratio:.3f}", f"{speed_up.promised:.3f}"
    return ratio, promised, f"{speed_up.fraction:.3f}{interval}", floor


def _shares(
    models: Mapping[str, ReducedModel], found: Mapping[str, SpeedUp], treatment: Treatment
) -> dict[str, TimeShares]:
    from ...evaluation.speed_profile import time_shares

    running = [name for name, speed_up in found.items() if speed_up.error is None]
    return {name: time_shares(models[name], treatment) for name in running}


def shares_table(shares: Mapping[str, TimeShares]) -> list[str]:
    """Return the lines of a table (Markdown): where the time of each method goes, in per cent."""
    rows = [
        [name, *(f"{part:.1%}" for part in (share.backbone, share.scoring, share.reducing))]
        for name, share in shares.items()
    ]
    return aligned([["method", "backbone", "scoring", "reduction"], *rows])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table (Markdown) whose columns are aligned; the first row heads it."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |"
        for row in rows
    ]
    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
    return [lines[0], rule, *lines[1:]]


def record(found: Mapping[str, SpeedUp], treatment: Treatment) -> dict[str, object]:
    """Return a table for programs: every round, in seconds of a batch."""
    from ..._devices import device_name

    plain = next(iter(found.values())).unpruned
    return {
        "device": device_name(treatment.device),
        **asdict(treatment),
        "unpruned": _speed_record(plain),
        "methods": {
            name: {
                "reduced": _speed_record(speed_up.reduced),
                "floor": None if speed_up.floor is None else _speed_record(speed_up.floor),
            }
            for name, speed_up in found.items()
        },
    }


def _speed_record(speed: ModelSpeed) -> dict[str, object]:
    return {**vars(speed), "error": None if speed.error is None else str(speed.error)}
