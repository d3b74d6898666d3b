"""`keeprate runs`: lists, shows, removes and merges the runs in a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import KeeprateError, printable
from ..options import shared_options
from ..printing import echo

if TYPE_CHECKING:
    from ...results.listing import Listed
    from ...results.manage import MergeReport
    from ...results.store import Store

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))
_HEADINGS = ("Id", "Run", "Model", "Data", "Cost", "Top-1 %", "State", "Started")
_FIGURES = ("Cost", "Top-1 %")


@click.group()
@shared_options
def runs() -> None:
    """List, show, remove and merge finished runs.

    A run is named by its id, by the beginning of one, or by a pattern such as 'tome-*'.
    """


@runs.command("list")
@_FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@shared_options
def list_(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER: what they are, what came out, and which failed."""
    from ...results.listing import listed
    from ...results.manage import open_store

    listed_runs, problems = listed(open_store(folder))
    if as_json:
        _print(json.dumps([asdict(run) for run in listed_runs], indent=2))
    elif listed_runs:
        _print_table([_texts(run) for run in listed_runs])
    else:
        _print(f"No run in {folder}.")
    _warn(problems)


@runs.command()
@_FOLDER
@click.argument("run", metavar="ID")
@shared_options
def show(folder: Path, run: str) -> None:
    """Show everything recorded of the run ID in FOLDER, and why it failed if it did."""
    from ...results.manage import find, open_store

    store = open_store(folder)
    for run_id in find(store, run):
        for line in _run_lines(store, run_id):
            _print(line)


@runs.command()
@_FOLDER
@click.argument("patterns", metavar="[ID]...", nargs=-1)
@click.option("--failed", is_flag=True, help="Remove all runs that failed.")
@click.option("--all", "everything", is_flag=True, help="Remove all runs.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared_options
def remove(
    folder: Path, patterns: tuple[str, ...], failed: bool, everything: bool, yes: bool
) -> None:
    """Remove the runs ID from FOLDER, with all their rows. Asks first."""
    from ...results import manage as store_tools

    store = store_tools.open_store(folder)
    if not (patterns or failed or everything):
        raise KeeprateError("Nothing to remove: name runs by their id, or say --failed or --all.")
    selected_ids = {name for pattern in patterns for name in store_tools.find(store, pattern)}
    # a run that failed at first and is finished now is not a failed one
    selected_ids |= {
        failure.id for failure in store.failures()[0] if failed and store.find(failure.id) is None
    }
    selected_ids |= set(store_tools.known(store)) if everything else set()
    ids = sorted(selected_ids)
    if not ids:
        _print(f"Nothing to remove in {folder}.")
        return
    _warn(_unpruned_warnings(store, ids))
    if not yes:
        id_lines = "".join(f"\n  {run_id}" for run_id in ids)
        click.confirm(f"Remove {_plural_runs(len(ids))} from {folder}?{id_lines}\n", abort=True)
    store_tools.remove(store, ids)
    _print(f"Removed {_plural_runs(len(ids))} from {folder}.")


@runs.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("sources", metavar="SOURCE...", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--prefer-source",
    is_flag=True,
    help="Where both have a run and its rows differ, take the source's.",
)
@shared_options
def merge(target: Path, sources: tuple[Path, ...], prefer_source: bool) -> None:
    """Copy the runs in each SOURCE into TARGET, a folder that need not be there.

    What both have is kept as it is in TARGET; runs that failed are copied unless TARGET has them.
    """
    from ...results.manage import merge, open_store
    from ...results.store import Store

    if not sources:
        raise KeeprateError("Nothing to merge: name the folders to copy from after the target.")
    report = merge(
        Store(target), [open_store(source) for source in sources], prefer_source=prefer_source
    )
    for line in _merge_lines(report, target):
        _print(line)
    _warn(_conflicts(report, target))
    _warn(f"left out: {problem}" for problem in report.problems)


def _texts(line: Listed) -> tuple[str, ...]:
    cost = "" if line.macs is None else f"{line.macs / 1e9:.4f} GMACs"
    share = "" if line.share is None else f" ({line.share:.1%})"
    top1 = "" if line.top1 is None else f"{100 * line.top1:.2f}"
    state = line.state
    if state != "finished" and line.images:
        state = f"{state}: {line.images} images"
    started = (line.started or "")[:16].replace("T", " ")
    described = (line.label or "", line.model or "", line.data or "")
    return (line.id, *described, f"{cost}{share}", top1, state, started)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a table as wide as the terminal; elsewhere no line is wrapped or cut."""
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
        for row in (_HEADINGS, *rows):
            _print("  ".join(map(_pad, _HEADINGS, row, widths)).rstrip())
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right" if heading in _FIGURES else "left")
    for row in rows:
        table.add_row(*(Text(printable(text)) for text in row))
    Console(highlight=False).print(table)


def _pad(heading: str, text: str, width: int) -> str:
    return text.rjust(width) if heading in _FIGURES else text.ljust(width)


def _run_lines(store: Store, run_id: str) -> Iterator[str]:
    """Yield lines with all that is stored of a run. Raises KeeprateError if it cannot be read."""
    from ...results.manage import images_done

    yield run_id
    failure = next((entry for entry in store.failures()[0] if entry.id == run_id), None)
    num_images = images_done(store).get(run_id, 0)
    # finished first: the record of an earlier failure may still be there
    if store.path_of(run_id, ".json").exists():
        yield "  state: finished"
        yield from _lines(store.read(run_id).model_dump(mode="json"), "  ")
    elif failure is not None:
        yield f"  state: failed, {num_images} images saved"
        yield from _lines(failure.model_dump(mode="json"), "  ")
    elif num_images:
        yield f"  state: partial, {num_images} images saved"
    else:
        raise KeeprateError(
            f"{run_id} is not whole: `keeprate runs remove` takes away what is left."
        )


def _lines(values: Mapping[str, object], margin: str) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{margin}{name}:"
            yield from _lines(value, f"{margin}  ")
        elif isinstance(value, str) and "\n" in value:
            yield f"{margin}{name}:"
            yield from (f"{margin}  {line}" for line in value.splitlines())
        else:
            yield f"{margin}{name}: {_format_value(value)}"


def _format_value(value: object) -> str:
    if value in (None, "", [], {}):
        return "-"
    if isinstance(value, dict):
        return " ".join(f"{name}={_format_value(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_format_value, value))
    return str(value)


def _unpruned_warnings(store: Store, ids: Sequence[str]) -> Iterator[str]:
    """Yield a warning for each unpruned run with which other runs, which stay, are compared."""
    from ...results.listing import compared_with

    for name, count in compared_with(store, ids).items():
        yield f"{name} is the unpruned run that {_plural_runs(count)} of {store.folder} need."


def _merge_lines(report: MergeReport, target: Path) -> Iterator[str]:
    yield f"Copied {_plural_runs(len(report.ids('copied')))} to {target}."
    if failures := report.ids("failure"):
        yield f"Copied {_plural_runs(len(failures))} that failed."
    if replaced := report.ids("replaced"):
        yield f"Replaced {_plural_runs(len(replaced))}."
    if kept := report.ids("kept"):
        yield f"Kept {_plural_runs(len(kept))} that {target} had before."


def _conflicts(report: MergeReport, target: Path) -> Iterator[str]:
    for run in report.conflicts:
        outcome = f"kept as it is in {target} (--prefer-source takes the other)"
        outcome = "replaced" if run.what == "replaced" else outcome
        yield f"{run.id} of {run.source}: {run.difference}; {outcome}."


def _plural_runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _warn(problems: Iterable[str]) -> None:
    for problem in problems:
        echo(f"Warning: {problem}", err=True)


def _print(line: str) -> None:
    """Print a line; a character that the terminal cannot show becomes a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    echo(line.encode(encoding, "replace").decode(encoding))
