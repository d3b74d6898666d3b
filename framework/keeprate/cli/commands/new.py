"""`keeprate new`: writes a first plugin of one's own, and its test."""

from __future__ import annotations

from pathlib import Path

import click

from ..options import plugin_options
from ..printing import echo


@click.command("new")
@click.argument("kind", metavar="KIND")
@click.argument("name", metavar="NAME")
@click.option("--package", is_flag=True, help="Write an installable package around it.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Write into this folder instead of the working directory.",
)
@plugin_options
def new(kind: str, name: str, package: bool, output: Path) -> None:
    """Write a plugin that runs at once and is yours to change, with its test.

    KIND is method, dataset, backbone, metric or report; NAME is what it will be called on the
    command line. What to change in it is marked "Change this". Nothing that is there already is
    replaced.
    """
    from ...plugins.registry import registry
    from ...plugins.scaffold import scaffold, write_new

    scaffolded = scaffold(kind, name, output, registry(), package=package)
    paths = write_new(scaffolded)
    names = [f"{path}/" if path.is_dir() else str(path) for path in paths]
    echo(f'Wrote {" and ".join(names)}; what to change is marked "Change this". Next:\n')
    for command in scaffolded.commands:
        echo(f"  {command}")
