"""`keeprate report`: tables and figures of the runs in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ..errors import KeeprateError, unknown_name
from .options import plugin_options, settings
from .table import print_table

if TYPE_CHECKING:
    from ..plugins import Offer
    from ..report import Report
    from ..summary import Summary

__all__ = ["ReportsFailed", "print_table", "report", "summarise_folder", "write_reports"]


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
@plugin_options
def report(folder: Path, names: tuple[str, ...], output: Path | None) -> None:
    """Write reports of the runs in FOLDER (such as runs/first), and print the table."""
    _chosen(names)
    summary = summarise_folder(folder)
    print_table(summary)
    _tell(write_reports(folder, names or None, output=output, summary=summary))


def summarise_folder(folder: Path) -> Summary:
    """Summarise the runs in `folder`; KeeprateError if it is not there or holds no finished run."""
    from ..results import Store
    from ..summary import summarise

    if not folder.exists():
        raise _missing(folder)
    if not folder.is_dir():
        raise KeeprateError(f"{folder} is a file, not a folder of results.")
    summary = summarise(Store(folder))
    if not summary.lines:
        raise _empty(folder, summary)
    return summary


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
    from ..atomic import explained

    chosen = _chosen(names)
    summary = summary or summarise_folder(folder)
    output = output or folder
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    failures: list[str] = []
    for offer in chosen:
        try:
            written += [Path(path) for path in offer.cls().write(summary, output)]
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
    if summary.problems:
        return KeeprateError(f"{said} {len(summary.problems)} unreadable: {summary.problems[0]}.")
    inside = _results_folders(folder)
    return KeeprateError(f"{said} Did you mean {' or '.join(inside)}?" if inside else said)


def _results_folders(parent: Path) -> list[str]:
    """Folders in `parent` that hold results."""
    if not parent.is_dir():
        return []
    return sorted(str(path) for path in parent.iterdir() if any(path.glob("*.json")))
