"""`keeprate plugins` shows the loaded plugins, `keeprate plugins doctor` what is wrong."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ... import __version__
from ...hookspecs import API_VERSION
from ...plugins.author_errors import sentence
from ..options import plugin_options, settings, shared_options
from ..plugin_rows import PluginRow, plugin_rows
from ..printing import echo

if TYPE_CHECKING:
    from ...plugins.doctor import Diagnosis

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


@click.group(invoke_without_command=True)
@_JSON
@shared_options
@click.pass_context
def plugins(context: click.Context, as_json: bool) -> None:
    """Show every plugin: where it comes from, its version, its API version, what it offers."""
    if context.invoked_subcommand is None:
        _show(as_json)


@plugin_options
def _show(as_json: bool) -> None:
    from ...plugins.registry import registry

    rows = plugin_rows(registry())
    if as_json:
        echo(json.dumps([row.record() for row in rows], indent=2))
        return
    for row in rows:
        echo(f"{row.name}  ({row.source})")
        for line in _details(row):
            echo(f"    {line}")


def _details(row: PluginRow) -> list[str]:
    if row.failed is not None:
        return [f"failed: {row.failed.cause}"]
    api = "not stated" if row.api is None else str(row.api)
    lines = [f"API version: {api}", *([f"file: {row.file}"] if row.file else [])]
    return lines + [f"{kind}: {', '.join(names)}" for kind, names in row.offers.items()]


@plugins.command()
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The folder that results are to be kept in.",
)
@_JSON
@shared_options
def doctor(runs: Path, as_json: bool) -> None:
    """Look for all that is wrong with plugins and what they run on.

    Loads everything the environment allows, each plugin alone, and names every problem with its
    remedy. Ends with status 1 if there is one; notes are advice.
    """
    from ...plugins.doctor import diagnose

    diagnosis = diagnose(settings().files, os.environ, Path.cwd(), runs)
    if as_json:
        echo(json.dumps(_record(diagnosis), indent=2))
    else:
        _print(diagnosis)
    if diagnosis.problems:
        raise click.exceptions.Exit(1)


def _record(diagnosis: Diagnosis) -> dict[str, object]:
    return {
        "keeprate": __version__,
        "api": API_VERSION,
        "versions": diagnosis.machine.versions,
        "device": diagnosis.machine.device,
        "plugins": len(diagnosis.registry.plugins),
        "offers": diagnosis.offered(),
        "found": [asdict(finding) for finding in diagnosis.findings],
    }


def _print(diagnosis: Diagnosis) -> None:
    versions = (f"{name} {version}" for name, version in diagnosis.machine.versions.items())
    echo(f"{', '.join(versions)}; API version {API_VERSION}")
    echo(f"device: {diagnosis.machine.device}")
    offers = ", ".join(f"{count} {kind}" for kind, count in diagnosis.offered().items())
    echo(f"{_plural(len(diagnosis.registry.plugins), 'plugin')} loaded: {offers}")
    for finding in diagnosis.findings:
        kind = "Problem" if finding.is_problem else "Note"
        text = sentence(finding.said, finding.place, finding.remedy)
        echo(f"{kind}: {finding.subject}: {text}")
    problems = len(diagnosis.problems)
    notes = len(diagnosis.findings) - problems
    echo(f"{_plural(problems, 'problem')}, {_plural(notes, 'note')}.")


def _plural(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"
