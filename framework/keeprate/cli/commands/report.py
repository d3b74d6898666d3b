"""`keeprate report`: writes tables and figures of the runs in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import KeeprateError
from ..options import plugin_options
from ..printing import echo
from ..session import print_written
from ..shown_options import shown_options
from ..tables import print_columns, print_table

if TYPE_CHECKING:
    from ...analysis.shown_series import ShownSeries
    from ...analysis.write import WrittenReports


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--report",
    "names",
    metavar="NAME",
    multiple=True,
    help="Write only this report; may be given several times.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write into this folder instead of FOLDER.",
)
@click.option(
    "--against",
    metavar="NAME",
    help="Method or series that others are compared with; default: the best at each budget.",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="COST",
    help="Compare at this cost; repeatable; default: the budgets that the runs asked for.",
)
@click.option(
    "--metric",
    metavar="NAME",
    help="Compare runs by this metric, as kl; see `keeprate list metrics`; default: top-1.",
)
@click.option(
    "--compare",
    "other",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Tell instead what changed from FOLDER to this other one.",
)
@click.option(
    "--places",
    is_flag=True,
    help="Write whole paths, which name you and your machine; default: the last part of each.",
)
@shown_options
@plugin_options
def report(  # noqa: PLR0913  the options of the command
    folder: Path,
    names: tuple[str, ...],
    output: Path | None,
    against: str | None,
    budgets: tuple[str, ...],
    metric: str | None,
    other: Path | None,
    places: bool,
    shown: ShownSeries,
) -> None:
    """Write reports of the runs in FOLDER (such as runs/first), and print the table."""
    from ...analysis.write import chosen_reports, findings_of_folder, write_reports

    # first, so that a wrong name is told before the runs are read
    chosen_reports(names)
    if other is not None:
        if against or budgets or metric or shown != type(shown)():
            raise KeeprateError(
                "--compare goes with none of --against, --budget, --metric, --method, --model, "
                "--label, --order and --colour: drop them."
            )
        print_written(report_changes(folder, other, names or None, output=output, places=places))
        return

    from ...analysis.model import ReportOptions

    # computed once: the table and all reports show the same numbers
    found = findings_of_folder(
        folder, ReportOptions(against, budgets, metric=metric, places=places, shown=shown)
    )
    print_table(found)
    print_written(write_reports(folder, names or None, output=output, found=found))


def report_changes(
    before: Path,
    after: Path,
    names: Sequence[str] | None = None,
    *,
    output: Path | None = None,
    places: bool = False,
) -> WrittenReports:
    """Print what changed between two folders of results; return the files written into `output`.

    The default of `output` is `after`. Paths are whole with `places`, else their last parts. Raises
    KeeprateError for a folder that does not exist or holds no finished run.
    """
    from ...analysis.changes import changes
    from ...analysis.places import without_places
    from ...analysis.printable_findings import printable_content
    from ...analysis.tables import changes_tables
    from ...analysis.write import check_folder, chosen_reports, write_each
    from ...results.store import Store

    for folder in (before, after):
        check_folder(folder)
    differences = printable_content(changes(Store(before), Store(after)))
    for folder, num_runs in (
        (before, differences.runs_before),
        (after, differences.runs_after),
    ):
        if not num_runs:
            raise KeeprateError(f"No finished run in {folder}: there is nothing to compare.")
    echo(f"{differences.unchanged} runs are in both with the same rows.")
    for table in changes_tables(differences):
        print_columns(table.title, table.columns)
    for problem in differences.problems:
        echo(f"Warning: {problem}", err=True)
    short = differences if places else without_places(differences)
    return write_each(
        chosen_reports(names),
        output or after,
        lambda report_kind, into: report_kind.write_changes(
            differences if report_kind.shows_places else short, into
        ),
    )
