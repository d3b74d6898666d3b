"""`keeprate report`: tables and figures of the runs in a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import KeeprateError, unknown_name
from .options import plugin_options, settings
from .table import print_columns, print_table

if TYPE_CHECKING:
    from ..findings.model import Options
    from ..plugins import Offer
    from ..report import Report
    from ..summary import Summary

__all__ = [
    "ReportsFailed",
    "print_table",
    "report",
    "report_changes",
    "summarise_folder",
    "write_reports",
]


class ReportsFailed(click.ClickException):
    """Some reports could not be written, one line for each; `written` are the files of the others.

    Ends the command with exit status 1.
    """

    def __init__(self, failures: Sequence[str], written: Sequence[Path]) -> None:
        super().__init__("\n".join(failures))
        self.written = list(written)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the files of the reports that could be written, then what failed."""
        _tell(self.written)
        super().show(file)


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
    "--compare",
    "other",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Tell instead what changed from FOLDER to this other one.",
)
@plugin_options
def report(
    folder: Path,
    names: tuple[str, ...],
    output: Path | None,
    against: str | None,
    budgets: tuple[str, ...],
    other: Path | None,
) -> None:
    """Write reports of the runs in FOLDER (such as runs/first), and print the table."""
    _chosen(names)
    if other is not None:
        if against or budgets:
            raise KeeprateError("--compare goes with neither --against nor --budget: drop them.")
        _tell(report_changes(folder, other, names or None, output=output))
        return

    from ..findings.model import Options

    summary = summarise_folder(folder, Options(against, budgets))
    print_table(summary)
    _tell(write_reports(folder, names or None, output=output, summary=summary))


def report_changes(
    before: Path, after: Path, names: Sequence[str] | None = None, *, output: Path | None = None
) -> list[Path]:
    """Print what changed between two folders of results; return the files written into `output`.

    That is `after` by default. Raises KeeprateError for a folder that is not there or holds no
    finished run.
    """
    from ..findings.changes import changes
    from ..findings.tables import changes_tables
    from ..results import Store

    for folder in (before, after):
        _check_folder(folder)
    found = changes(Store(before), Store(after))
    for folder, there in ((before, found.runs_before), (after, found.runs_after)):
        if not there:
            raise KeeprateError(f"No finished run in {folder}: there is nothing to compare.")
    click.echo(f"{found.unchanged} runs are in both with the same rows.")
    for table in changes_tables(found):
        print_columns(table.title, table.columns)
    for problem in found.problems:
        click.echo(f"Warning: {problem}", err=True)
    return _written(
        _chosen(names), output or after, lambda each, into: each.write_changes(found, into)
    )


def summarise_folder(folder: Path, options: Options | None = None) -> Summary:
    """Summarise the runs in `folder`; KeeprateError if it is not there or holds no finished run.

    `options` say what the findings are asked; what is wrong with them is told at once.
    """
    from ..results import Store
    from ..summary import summarise

    _check_folder(folder)
    summary = summarise(Store(folder), options)
    if not summary.lines:
        raise _empty(folder, summary)
    if options is not None:
        _ = summary.findings  # a mistake in the options is one, not one of every report
    return summary


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise _missing(folder)
    if not folder.is_dir():
        raise KeeprateError(f"{folder} is a file, not a folder of results.")


def write_reports(
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    output: Path | None = None,
    summary: Summary | None = None,
) -> list[Path]:
    """Write the registered reports, or those named, of the runs in `folder`; return their files.

    They go into `output`, `folder` itself by default. Pass the `summary` if it is there already.
    A report that raises does not keep the others from being written; ReportsFailed then names it.
    Raises KeeprateError, before anything is computed, for a name that no report has.
    """
    chosen = _chosen(names)
    found = summary or summarise_folder(folder)
    return _written(chosen, output or folder, lambda each, into: each.write(found, into))


def _written(
    chosen: Sequence[Offer[Report]], output: Path, write: Callable[[Report, Path], Sequence[Path]]
) -> list[Path]:
    from ..atomic import explained

    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    failures: list[str] = []
    for offer in chosen:
        try:
            written += [Path(path) for path in write(offer.cls(), output)]
        except Exception as error:
            failures.append(_failure(offer, error))
    if failures:
        raise ReportsFailed(failures, written)
    return written


def _tell(written: Sequence[Path]) -> None:
    for path in written:
        click.echo(f"Wrote {path}")


def _chosen(names: Sequence[str] | None) -> list[Offer[Report]]:
    from ..plugins import registry

    known = registry()
    for name in names or ():
        known.report(name)
    return [known.reports[name] for name in dict.fromkeys(names or known.reports)]


def _failure(offer: Offer[Report], error: Exception) -> str:
    from traceback import print_exception

    if click.get_current_context(silent=True) and settings().traceback:
        print_exception(error)
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"Report '{offer.name}' of {offer.origin} failed: {said}"


def _missing(folder: Path) -> KeeprateError:
    siblings = _results_folders(folder.parent)
    if siblings:
        return unknown_name("results folder", str(folder), siblings)
    return KeeprateError(f"No results folder '{folder}'. `keeprate compare` makes one.")


def _empty(folder: Path, summary: Summary) -> KeeprateError:
    said = f"No finished run in {folder}."
    failed = len(summary.findings.failures)
    if failed:
        return KeeprateError(f"{said} {failed} failed: {summary.findings.failures[0].error}")
    if summary.problems:
        return KeeprateError(f"{said} {len(summary.problems)} unreadable: {summary.problems[0]}.")
    if any((folder / "partial").glob("*")):
        return KeeprateError(f"{said} Some are unfinished: the command that began them goes on.")
    inside = _results_folders(folder)
    return KeeprateError(f"{said} Did you mean {' or '.join(inside)}?" if inside else said)


def _results_folders(parent: Path) -> list[str]:
    """Folders in `parent` that hold results."""
    from ..results import run_files

    if not parent.is_dir():
        return []
    return sorted(str(path) for path in parent.iterdir() if run_files(path))
