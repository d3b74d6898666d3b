"""`keeprate figure`: draws a figure for a paper from finished runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ...errors import KeeprateError
from ..options import plugin_options
from ..printing import echo
from ..shown_options import shown_options

if TYPE_CHECKING:
    from ...analysis.figure import Figure
    from ...analysis.model import Findings
    from ...analysis.shown_series import ShownSeries

_KINDS: Final = (".svg", ".pdf", ".png")


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="RUNS...")
@click.option(
    "--from",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.yaml",
    help="Read the figure from this file; options typed beside it count more.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("figure"),
    metavar="PATH",
    help="Write PATH.svg, .pdf and .png, or PATH alone if it has such an ending; default: figure.",
)
@click.option("--split", is_flag=True, help="Write a file for each model and data set.")
@shown_options
@click.option("--metric", metavar="NAME", help="What stands upward, as kl; default: top-1.")
@click.option("--axis", metavar="macs|throughput", help="What stands below; default: macs.")
@click.option("--log-x", is_flag=True, default=None, help="Make the axis of costs logarithmic.")
@click.option(
    "--zoom",
    multiple=True,
    metavar="x=LOW:HIGH",
    help="Draw this part of an axis, x or y; may be given for both.",
)
@click.option("--width", metavar="LENGTH", help="Of the whole figure; default: 3.25in.")
@click.option("--height", metavar="LENGTH", help="Of the axes of a panel; default: by the width.")
@click.option("--columns", type=int, metavar="N", help="Panels side by side; default: 1.")
@click.option("--title", metavar="TEXT", help="Write a title; default: none.")
@click.option("--intervals/--no-intervals", default=None, help="Draw intervals; default: yes.")
@click.option("--front/--no-front", default=None, help="Mark the Pareto front; default: yes.")
@click.option("--font-size", type=float, metavar="POINTS", help="Of titles; default: 8.")
@plugin_options
def figure(
    folders: tuple[Path, ...],
    file: Path | None,
    output: Path,
    split: bool,
    shown: ShownSeries,
    **typed: Any,
) -> None:
    """Draw the finished runs in RUNS as a figure of true size for a two-column paper."""
    from ...analysis.figure import Figure
    from ...analysis.write import figure_findings

    paths = _paths(output)
    written = _read(file) if file else {}
    places = [Path(folder) for folder in _listed(written.pop("runs", ()))]
    drawn = Figure.of(_typed(written, shown, typed), str(file) if file else "keeprate figure")
    if not (folders or places):
        raise KeeprateError("Name folders of results, as `keeprate figure runs/first`.")
    found = figure_findings(folders or [file.parent / place for place in places if file], drawn)
    for problem in found.problems:
        echo(f"Warning: {problem}", err=True)
    for part, files in _parts(found, paths) if split else [(found, paths)]:
        _write(part, drawn, files)


def _paths(output: Path) -> list[Path]:
    if output.suffix in _KINDS:
        return [output]
    if re.fullmatch(r"\.(?:eps|jpe?g|gif|tiff?|html|tex)", output.suffix):
        raise KeeprateError(f"--output {output}: figures are written as {', '.join(_KINDS)}.")
    return [output.with_name(output.name + kind) for kind in _KINDS]


def _read(file: Path) -> dict[str, Any]:
    from ...data.text_files import read_text
    from ...study.yaml_lines import read_document

    document = read_document(read_text(file))
    for flaw in document.flaws:
        raise KeeprateError(f"{file}:{flaw.line}: {flaw.text}")
    return dict(document.data or {})


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def _typed(
    written: Mapping[str, Any], shown: ShownSeries, typed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of the file with those that were typed in their place."""
    values = {name: value for name, value in typed.items() if value is not None}
    zoom: dict[str, str] = {}
    for text in values.pop("zoom", ()):
        axis, _, span = text.partition("=")
        zoom[axis] = span
    values |= {"zoom": zoom} if zoom else {}
    named = {field.name: getattr(shown, field.name) for field in fields(shown)}
    return {**written, **values, **{name: value for name, value in named.items() if value}}


def _parts(found: Findings, paths: Sequence[Path]) -> list[tuple[Findings, list[Path]]]:
    """Return each group alone, with files that are named after its model, and data where needed."""
    models = [group.model for group in found.groups]
    names = [
        group.model if models.count(group.model) == 1 else group.title for group in found.groups
    ]
    slugs = [re.sub(r"[^\w.-]+", "-", name).strip("-") for name in names]
    return [
        (
            replace(found, groups=(group,)),
            [path.with_name(f"{path.stem}-{slug}{path.suffix}") for path in paths],
        )
        for group, slug in zip(found.groups, slugs, strict=True)
    ]


def _write(found: Findings, drawn: Figure, paths: Sequence[Path]) -> None:
    from ...plugins.registry import registry
    from ...results.atomic_files import explained

    for path in paths:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    if not any(
        offer.cls().write_figure(found, drawn, paths) for offer in registry().reports.values()
    ):
        raise KeeprateError("No report here draws figures: `keeprate plugins` says what is wrong.")
    for path in paths:
        echo(f"Wrote {path}")
