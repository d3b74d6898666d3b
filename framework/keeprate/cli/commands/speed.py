"""`keeprate speed`: how fast methods run, beside the unpruned model and what their counts allow."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import KeeprateError, unknown_name
from ...request import ACCELERATORS, MOST_IMAGES, PRECISIONS
from ..image_options import Numbers
from ..options import ImageSize, plugin_options
from ..speed_tables import record, shares_table, table, title

if TYPE_CHECKING:
    from ...evaluation.speed import SpeedUp
    from ...evaluation.speed_profile import TimeShares
    from ...evaluation.timing import Treatment, Watcher
    from ...reduction.reduced_model import ReducedModel


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


def _shares(
    models: Mapping[str, ReducedModel], found: Mapping[str, SpeedUp], treatment: Treatment
) -> dict[str, TimeShares]:
    from ...evaluation.speed_profile import time_shares

    running = [name for name, speed_up in found.items() if speed_up.error is None]
    return {name: time_shares(models[name], treatment) for name in running}
