"""`keeprate compare`: runs several methods at several costs, and writes a report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from ...request import DEFAULT_SEEDS, CalibrationSpec, LoopOptions, Options
from ..options import INPUT_OPTIONS, Number, pictures_option, plugin_options

if TYPE_CHECKING:
    from ...study import Study

MODEL_OPTIONS = (
    click.option(
        "--data",
        metavar="NAME[:PARAMETERS]",
        help="Data set, as imagenet:FOLDER, or 'imagenet:\"FOLDER\"' if FOLDER has , and = in it.",
    ),
    click.option(
        "--model",
        multiple=True,
        metavar="NAME",
        help="timm's, torchvision:NAME, hf:FOLDER; repeatable; default: the data's.",
    ),
    click.option(
        "--weights",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="FILE",
        help="Its weights; with several models, one for each.",
    ),
    click.option("--image-size", metavar="PIXELS", help="Side, or HEIGHTxWIDTH, of images."),
    *INPUT_OPTIONS,
)
FOLDER_OPTIONS = (
    click.option("--name", metavar="NAME", help="Folder of the results under --runs."),
    click.option("--runs", type=click.Path(path_type=Path), default=Path("runs")),
)
RUN_OPTIONS = (
    click.option("--limit", type=Number(), help="Only this many images, evenly spread."),
    click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read."),
    click.option("--empty-last-mlp", is_flag=True, help="Drop all patches before the last MLP."),
    click.option("--batch-size", type=Number(), default=LoopOptions.batch_size, show_default=True),
    click.option("--workers", type=Number(), help="Processes that decode images."),
    click.option(
        "--precision",
        default=LoopOptions.precision,
        show_default=True,
        help="As in Lightning: 32-true, bf16-mixed, 16-mixed, bf16-true, 16-true, 64-true.",
    ),
    click.option(
        "--accelerator",
        default=LoopOptions.accelerator,
        show_default=True,
        help="auto, cpu, gpu, ...",
    ),
    click.option(
        "--checkpoint-seconds",
        type=Number(),
        default=LoopOptions.checkpoint_seconds,
        show_default=True,
        help="Save unfinished rows this often.",
    ),
    click.option("--checkpoint-batches", type=Number(), help="And after so many batches."),
    click.option(
        "--runs-per-pass",
        type=Number(),
        default=Options.runs_per_pass,
        show_default=True,
        help="The most runs that share one pass over the data.",
    ),
    click.option(
        "--cache-decoded",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Keep decoded images there, and use those that are.",
    ),
    click.option(
        "--engine", metavar="NAME[:PARAMETERS]", help="What runs the runs; default: here."
    ),
)
OPTIONS = (
    *MODEL_OPTIONS,
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
    click.option(
        "--calibration",
        metavar="NAME[:PARAMETERS]",
        help="Data set, not the tested one, to solve budgets on that need images; default: what "
        "the tested data set offers.",
    ),
    click.option(
        "--calibration-images",
        type=Number(),
        default=CalibrationSpec.images,
        show_default=True,
        help="How many of them.",
    ),
    click.option(
        "--calibration-seed",
        type=Number(),
        default=CalibrationSpec.seed,
        show_default=True,
        help="Draws them.",
    ),
    *FOLDER_OPTIONS,
    click.option(
        "--seed",
        "seeds",
        type=Number(),
        multiple=True,
        default=DEFAULT_SEEDS,
        show_default=True,
        help="For methods that have a seed and name none; repeatable.",
    ),
    click.option(
        "--part", metavar="START..END", help="Only images whose hash is there, as 0.5..1."
    ),
    click.option("--force", is_flag=True, help="Run again what is finished."),
    click.option(
        "--throughput/--no-throughput",
        default=Options.throughput,
        show_default=True,
        help="Measure speed as well.",
    ),
    *RUN_OPTIONS,
    click.option(
        "--devices",
        type=Number(),
        default=LoopOptions.devices,
        show_default=True,
        help="How many, or auto.",
    ),
    click.option(
        "--logger",
        multiple=True,
        metavar="NAME",
        help="Also log with csv, tensorboard, mlflow or wandb; repeatable.",
    ),
)


Option: TypeAlias = Callable[[Callable[..., None]], Callable[..., None]]


def with_options(options: Sequence[Option]) -> Option:
    """Return a decorator that gives a command all these options, in this order."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command()
@with_options(OPTIONS)
@pictures_option
@plugin_options
def compare(runs: Path, force: bool, **options: Any) -> None:
    """Run methods at equal cost on a model and a data set, and write a report.

    Without options: all methods on the data set and the classifier that come with keeprate.
    """
    study = specified(options, force=force)

    # imported after the options are checked, so that a mistake is told at once
    from ..session import run_and_report

    folder = runs / study.name
    status = run_and_report(study.requests, folder, engine=study.spec.engine, loggers=study.loggers)
    if status == 0 and not (options["model"] or options["data"]):
        click.echo(_next_step())
    raise click.exceptions.Exit(status)


def _next_step() -> str:
    """Say how to compare on a model and images of one's own, as it can be typed."""
    program = Path(sys.argv[0])
    # one that is in no folder of programs, as make runs it, is called by its path
    called = program if program.name == "keeprate" and not which("keeprate") else "keeprate"
    return f"Next, your model and images: {called} compare --model NAME --data image-folder:FOLDER"


def specified(options: Mapping[str, Any], *, force: bool = False) -> Study:
    """Return the study that the options ask for.

    Raises KeeprateError for whatever is wrong with them.
    """
    from ...study import Problems, expand
    from ..typed_options import TypedOptions

    spelling = {str(option.name): option.opts[0] for option in compare.params}
    return expand(Problems(TypedOptions(options, spelling)), ask_hub=True, force=force)
