"""`keeprate show`: draws which patches of an image survive, stage by stage, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import KeeprateError
from ..image_options import Numbers, ShowOptions, check_blocks, file_name, source, source_options
from ..options import plugin_options
from ..printing import echo

if TYPE_CHECKING:
    from ...request import Cost
    from ...study.comparison import MethodAtCost
    from ...visualization.image_selection import ImageSource

DEFAULT_BUDGET = "65%"
DEFAULT_OUTPUT = Path("runs/pictures")


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1)
@source_options
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME[:PARAMETERS]",
    help="Method, as tome:proportional_attention=false; repeatable; default: all that fit.",
)
@click.option("--schedule", metavar="SCHEDULE", help="As r=13 or keep=0.7@3,6,9.")
@click.option("--budget", metavar="COST", help="GMACs (0.8) or a share; default: 65%.")
@click.option("--blocks", type=Numbers(), metavar="1,3,5", help="Show these; default: six at most.")
@click.option("--overlay", is_flag=True, help="Show what each method finds important as well.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    show_default=str(DEFAULT_OUTPUT),
    help="Where the pictures go, a PNG for each image.",
)
@click.option(
    "--disagreeing",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Draw instead what the runs in FOLDER disagree on most, for their report.",
)
@click.option(
    "-n",
    "--most",
    type=click.IntRange(1),
    metavar="N",
    help="With --disagreeing: as many samples; default: 8.",
)
@click.option(
    "--runs",
    "run_ids",
    multiple=True,
    metavar="ID",
    help="With --disagreeing: compare these runs; repeatable; default: one of each series.",
)
@plugin_options
def show(**options: Any) -> None:
    """Draw which patches of each IMAGE survive, stage by stage, side by side for several methods.

    IMAGE is a file where --model is given alone. With --data, or without a model, it is the id or
    the index (from 0) of a sample of the data set.

    With --disagreeing the images are those on which finished runs disagree most, and --model,
    --weights and --data say where things lie that their folder names, if they are elsewhere now.
    """
    typed = ShowOptions(**options)
    if typed.disagreeing is not None:
        from .show_disagreeing import show_disagreeing

        show_disagreeing(typed, typed.disagreeing)
        return
    # not required by click, since --disagreeing takes its images from the runs
    if not typed.images:
        raise click.UsageError("Missing argument 'IMAGE...'.")
    if typed.most or typed.run_ids:
        raise KeeprateError("--most and --runs need --disagreeing FOLDER.")
    show_images(typed)


def show_images(asked: ShowOptions) -> None:
    """Draw the named images. Raises KeeprateError for a wrong option or an unreadable image."""
    from ...results.atomic_files import write_together
    from ...visualization.sheet import png
    from ...visualization.token_sheet import sheet_of
    from ...visualization.token_tracks import TokenTracer

    image_source = source(asked)
    check_blocks(asked.blocks, image_source.backbone.depth)
    runs = runs_of(asked, image_source)
    images = image_source.pick(asked.images)
    tracer = TokenTracer(image_source, runs)
    taken: set[str] = set()
    for image in images:
        path = (asked.output or DEFAULT_OUTPUT) / file_name(image.stem, taken)
        sheet = sheet_of(tracer.trace(image), asked.blocks, overlay=asked.overlay)
        write_together({path: png(sheet)})
        echo(path)


def runs_of(asked: ShowOptions, found: ImageSource) -> dict[str, MethodAtCost]:
    """Return the named methods, or all that fit the model, at one cost, each by its label.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    from ...plugins.parameters import parse_spec
    from ...request import Cost, RunSpec
    from ...study.build import build_run

    budget = asked.budget or (None if asked.schedule else DEFAULT_BUDGET)
    cost = Cost(asked.schedule, budget)
    suffix = " ".join(filter(None, [cost.schedule, cost.budget]))
    runs = {}
    for spec in asked.methods or _fitting_methods(found, cost):
        runs[f"{spec} {suffix}"] = build_run(RunSpec(*parse_spec(spec), cost), seed=0)
    return runs


def _fitting_methods(image_source: ImageSource, cost: Cost) -> list[str]:
    """Return the names of the registered methods that reduce tokens of the model at a cost."""
    from ...plugins.parameters import build
    from ...plugins.registry import registry
    from ...request import CalibrationSpec
    from ...study.build import fitting
    from ...study.comparison import MethodAtCost

    wanted = []
    for offer in registry().methods.values():
        try:
            method = build("method", offer.cls, {})
        except KeeprateError:  # one that cannot be made must not keep the others from being drawn
            continue
        if method.reduces:
            wanted.append(MethodAtCost(method, cost))
    runs = fitting(wanted, image_source.loaded, image_source.data, CalibrationSpec())
    return [run.method.name for run in runs]
