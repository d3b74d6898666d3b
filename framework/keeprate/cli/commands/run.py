"""`keeprate run`: runs a study and writes its reports, or estimates what it would cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import KeeprateError
from ..options import pictures_option, plugin_options
from ..printing import echo

if TYPE_CHECKING:
    from ...evaluation.estimate import Estimate
    from ...request import Request
    from ...study import Study
    from ...study.comparison import Comparison


@click.command()
@click.argument("study")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the study, as limit=100 or models.0.weights=FILE; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Show the runs and what they would cost.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--name", metavar="NAME", help="Folder of the results under --runs.")
@click.option("--force", is_flag=True, help="Run again what is finished.")
@click.option("--engine", metavar="NAME[:PARAMETERS]", help="What runs the runs.")
@click.option(
    "--logger", "loggers", multiple=True, metavar="NAME", help="Also log there; repeatable."
)
@pictures_option
@plugin_options
def run(
    study: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    runs: Path,
    name: str | None,
    force: bool,
    engine: str | None,
    loggers: tuple[str, ...],
) -> None:
    """Run the study STUDY, a file or the name of a ready one, and write a report.

    All of it is checked before anything is computed, and every problem is told with its line.
    """
    from ...study import read_study

    folder = runs / _check_name(name) if name is not None else None
    # a dry run works without a network
    checked_study = read_study(study, overrides, ask_hub=not dry_run, force=force)
    if dry_run:
        _show(checked_study)
        return
    _run(
        checked_study.requests,
        folder or runs / checked_study.name,
        engine or checked_study.spec.engine,
        loggers or checked_study.loggers,
    )


def _run(
    requests: Sequence[Request], folder: Path, engine: str | None, loggers: Sequence[str]
) -> None:
    from ..session import run_and_report

    status = run_and_report(requests, folder, engine=engine, loggers=loggers)
    raise click.exceptions.Exit(status)


def _check_name(name: str) -> str:
    from ...request import plain_folder

    try:
        return plain_folder(name)
    except ValueError as error:
        raise KeeprateError(f"--name: {error}") from error


def _show(study: Study) -> None:
    """Print every run of a study with its cost, then an estimate for the whole study."""
    from ...evaluation.estimate import calibrate, estimate_cost, without_weights

    echo(f"{study.name}: {study.description}".removesuffix(": "))
    estimates = []
    for request in study.requests:
        # random weights cost the same as real ones
        comparison = without_weights(request)
        for note in comparison.notes:
            echo(f"Note: {note}", err=True)
        echo("\n" + "\n".join(_table(comparison)))
        estimates.append(estimate_cost(comparison, calibrate(comparison)))
    echo("\n" + "\n".join(_totals(estimates)))


def _table(comparison: Comparison) -> list[str]:
    """Return the lines of a table: model and data set, then each run with its cost."""
    from ...evaluation.estimate import macs_per_image

    jobs, unpruned = comparison.jobs, comparison.unpruned_macs()
    width = max(len(job.label) for job in jobs) + 2
    samples = len(comparison.samples)
    lines = [
        f"{comparison.title}: {len(jobs)} runs, {samples:,} sample{'s' * (samples != 1)} each",
        "run".ljust(width) + "GMACs per sample".rjust(18) + "of unpruned".rjust(14),
    ]
    for job in jobs:
        macs = macs_per_image(comparison, [job.model])
        cost = f"{macs / 1e9:.4f}".rjust(18) + f"{macs / unpruned:.1%}".rjust(14)
        lines.append(job.label.ljust(width) + cost)
    return lines


def _totals(estimates: Sequence[Estimate]) -> list[str]:
    """Return lines with the totals: samples, TMACs and time, run by run and in shared passes."""
    from ...evaluation.progress.wording import duration

    apart, shared = (
        [estimate.apart for estimate in estimates],
        [estimate.shared for estimate in estimates],
    )
    columns = [
        (
            f"{sum(work.images for work in works):,}",
            f"{sum(work.macs for work in works) / 1e12:,.3f}",
            duration(sum(work.seconds for work in works)),
        )
        for works in (apart, shared)
    ]
    names = ("samples read", "TMACs", "about")
    rows = zip(names, *columns, strict=True)
    speed = estimates[0].speed
    return [
        "Estimate".ljust(16) + "run by run".rjust(18) + "shared passes".rjust(18),
        *(name.ljust(16) + one.rjust(18) + other.rjust(18) for name, one, other in rows),
        f"The time is an estimate, from a few batches of the unpruned model at "
        f"{speed.macs_per_second / 1e9:,.1f} GMACs per second on {speed.device} and "
        f"{speed.seconds_per_image * 1e3:.2f} ms to read a sample. Shared passes are what "
        "`keeprate run` does.",
    ]
