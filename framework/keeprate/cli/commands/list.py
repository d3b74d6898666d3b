"""`keeprate list`: what can be named on the command line, and where it comes from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import click

from ...method import Preset
from ...plugins.kinds import KINDS, PluginKind, Registered
from ...plugins.parameters import Parameter, parameters_of
from ...plugins.registry import Registry, registry
from ..options import plugin_options
from ..plugin_rows import plugin_rows

STUDIES = "studies"
PLUGINS = "plugins"


@dataclass(frozen=True)
class ListRow:
    """One listed thing."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    origin: str
    version: str

    @property
    def source(self) -> str:
        """Origin and version, the version once."""
        return self.origin if self.version in self.origin else f"{self.origin} {self.version}"


@click.command("list")
@click.argument("kind", type=click.Choice([*KINDS, STUDIES, PLUGINS]), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@plugin_options
def list_(kind: str | None, as_json: bool) -> None:
    """Show everything that can be named, or only what is of one KIND.

    Each with its description, its parameters with types and defaults, and where it comes from.
    """
    wanted = [*KINDS, STUDIES, PLUGINS] if kind is None else [kind]
    tables = {each: _rows(registry(), each) for each in wanted}
    if as_json:
        shown = {each: [_record(row) for row in rows] for each, rows in tables.items()}
        click.echo(json.dumps(shown, indent=2, default=str))
    elif _is_terminal():
        _print_tables(tables)
    else:
        click.echo("\n\n".join(_text(each, rows) for each, rows in tables.items()))


def _rows(found: Registry, kind: str) -> list[ListRow]:
    if kind == PLUGINS:
        return _plugin_rows(found)
    if kind == STUDIES:
        from ...study.yaml_lines import description_in

        studies = (found.studies[name] for name in sorted(found.studies))
        return [
            ListRow(study.name, description_in(study.path), (), study.origin, study.version)
            for study in studies
        ]
    offers: dict[str, Registered[object]] = getattr(found, kind)
    return [_row(KINDS[kind], offers[name]) for name in sorted(offers)]


def _row(kind: PluginKind, offer: Registered[object]) -> ListRow:
    parameters = parameters_of(offer.cls) if kind.has_parameters else ()
    description = offer.description + _presets(offer.cls)
    return ListRow(offer.name, description, parameters, offer.origin, offer.version)


def _presets(cls: type[object]) -> str:
    """Return a sentence on the schedules a method knows by name, empty for anything else."""
    presets: Mapping[str, Preset] = getattr(cls, "presets", {})
    told = (f"{name} ({each.schedule}; {each.note})" for name, each in presets.items())
    return f" Preset schedules: {', '.join(told)}." if presets else ""


def _plugin_rows(found: Registry) -> list[ListRow]:
    """Return each loaded plugin with the names it offers, then each that failed with the cause."""
    return [
        ListRow(each.name, each.description, (), each.origin, each.version)
        for each in plugin_rows(found)
    ]


def _record(row: ListRow) -> dict[str, object]:
    return {
        **asdict(row),
        "parameters": [
            {
                "name": each.name,
                "type": each.annotation,
                "default": each.default,
                "required": each.required,
            }
            for each in row.parameters
        ],
    }


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _heading(kind: str) -> str:
    return f"{KINDS[kind].word}s".capitalize() if kind in KINDS else kind.capitalize()


def _described(parameter: Parameter) -> str:
    return f"{parameter.text} (required)" if parameter.required else parameter.text


def _text(kind: str, rows: Iterable[ListRow]) -> str:
    """Return a heading and, under each name, its description and parameters, one per line."""
    lines = [_heading(kind)]
    for row in rows:
        lines.append(f"  {row.name}  ({row.source})")
        details = [row.description, *map(_described, row.parameters)]
        lines += [f"      {detail}" for detail in details if detail]
    return "\n".join(lines)


def _print_tables(tables: Mapping[str, Iterable[ListRow]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for kind, rows in tables.items():
        table = Table("Name", "Description", title=_heading(kind), title_justify="left")
        with_parameters = kind in KINDS and KINDS[kind].has_parameters
        if with_parameters:
            table.add_column("Parameters")
        table.add_column("Origin")
        for row in rows:
            parameters = ["\n".join(map(_described, row.parameters))] * with_parameters
            table.add_row(*map(escape, (row.name, row.description, *parameters, row.source)))
        console.print(table)
