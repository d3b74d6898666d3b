"""`keeprate list`: shows the names for the command line, and where each comes from."""

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
    """One named thing in the list, such as a method."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    origin: str
    version: str

    @property
    def source(self) -> str:
        """The origin and the version, without naming the version twice."""
        return self.origin if self.version in self.origin else f"{self.origin} {self.version}"


@click.command("list")
@click.argument("kind", type=click.Choice([*KINDS, STUDIES, PLUGINS]), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@plugin_options
def list_(kind: str | None, as_json: bool) -> None:
    """Show everything that can be named, or only what is of one KIND.

    Each with its description, its parameters with types and defaults, and where it comes from.
    """
    kinds = [*KINDS, STUDIES, PLUGINS] if kind is None else [kind]
    tables = {name: _rows(registry(), name) for name in kinds}
    if as_json:
        records = {name: [_record(row) for row in rows] for name, rows in tables.items()}
        # defaults of parameters may be of any type: those that JSON lacks are written as text
        click.echo(json.dumps(records, indent=2, default=str))
    elif _is_terminal():
        _print_tables(tables)
    else:
        click.echo("\n\n".join(_text(name, rows) for name, rows in tables.items()))


def _rows(plugins: Registry, kind: str) -> list[ListRow]:
    if kind == PLUGINS:
        return _plugin_rows(plugins)
    if kind == STUDIES:
        from ...study.yaml_lines import description_in

        studies = (plugins.studies[name] for name in sorted(plugins.studies))
        return [
            ListRow(study.name, description_in(study.path), (), study.origin, study.version)
            for study in studies
        ]
    offers: dict[str, Registered[object]] = getattr(plugins, kind)
    return [_row(KINDS[kind], offers[name]) for name in sorted(offers)]


def _row(kind: PluginKind, offer: Registered[object]) -> ListRow:
    parameters = parameters_of(offer.cls) if kind.has_parameters else ()
    description = offer.description + _presets(offer.cls)
    return ListRow(offer.name, description, parameters, offer.origin, offer.version)


def _presets(cls: type[object]) -> str:
    """Return a sentence on the named schedules of a method, empty if the class has none."""
    presets: Mapping[str, Preset] = getattr(cls, "presets", {})
    texts = (f"{name} ({preset.schedule}; {preset.note})" for name, preset in presets.items())
    return f" Preset schedules: {', '.join(texts)}." if presets else ""


def _plugin_rows(plugins: Registry) -> list[ListRow]:
    """Return the loaded plugins with the names they offer, then the failed ones with the cause."""
    return [
        ListRow(row.name, row.description, (), row.origin, row.version)
        for row in plugin_rows(plugins)
    ]


def _record(row: ListRow) -> dict[str, object]:
    return {
        **asdict(row),
        "parameters": [
            {
                "name": parameter.name,
                "type": parameter.annotation,
                "default": parameter.default,
                "required": parameter.required,
            }
            for parameter in row.parameters
        ],
    }


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _heading(kind: str) -> str:
    if kind not in KINDS:
        return kind.capitalize()
    word = KINDS[kind].word
    return (f"{word[:-1]}ies" if word.endswith("y") else f"{word}s").capitalize()


def _parameter_line(parameter: Parameter) -> str:
    return f"{parameter.text} (required)" if parameter.required else parameter.text


def _text(kind: str, rows: Iterable[ListRow]) -> str:
    """Return a heading and, under each name, its description and parameters, one per line."""
    lines = [_heading(kind)]
    for row in rows:
        lines.append(f"  {row.name}  ({row.source})")
        details = [row.description, *map(_parameter_line, row.parameters)]
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
            parameters = ["\n".join(map(_parameter_line, row.parameters))] * with_parameters
            # texts of plugins may have brackets, which Rich would take for markup
            table.add_row(*map(escape, (row.name, row.description, *parameters, row.source)))
        console.print(table)
