"""What `keeprate.compare` and `keeprate.load` return: a table of runs, their rows, reports."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl

from .analysis.build import findings
from .analysis.figure import Figure
from .analysis.model import Findings, GroupPoints, ReportOptions
from .analysis.places import places_of, without_places
from .analysis.points import points_of
from .analysis.run_table import Column, records, table
from .analysis.runs import gather
from .analysis.write import check_folder, figure_of, write_reports
from .errors import KeeprateError, unknown_name
from .plugins.registry import registry
from .results.joined_stores import JoinedStores

_TEXTS: Final = ("id", "group", "label", "method", "parameters", "asked", "budget", "schedule")
_TYPES: Final[dict[str, type[pl.DataType]]] = {
    **dict.fromkeys((*_TEXTS, "tokens"), pl.String),
    **dict.fromkeys(("seed", "images"), pl.Int64),
    "reduces": pl.Boolean,
}
"""Types of the columns that hold no figures in floating point."""
_OPTIONS: Final = ReportOptions()


class ComparisonTable:
    """Finished runs, of one comparison or of folders, the unpruned one among them.

    `frame` has a row for each run, the cheapest first: `macs_*` are multiply-accumulates per image,
    `*_percent` shares in per cent, `difference_*` percentage points against the unpruned model,
    with 95 % intervals; every metric that a run has is a column, its unit in the name.
    docs/python.md explains every column. `groups` are the same runs as objects, `findings` what
    reports are written from; `folder` is the store that holds the runs, the first of several.
    """

    def __init__(self, folder: Path | Sequence[Path], ids: Sequence[str] | None = None) -> None:
        """Read all runs, or the runs `ids`; KeeprateError if one of these cannot be read."""
        folders = [folder] if isinstance(folder, Path) else list(folder)
        self.folder = folders[0]
        self._store = JoinedStores(folders, ids)
        self._evidence = gather(self._store)
        self.groups: tuple[GroupPoints, ...] = points_of(self._evidence, _OPTIONS)
        self.frame = _frame(self.groups)

    @cached_property
    def findings(self) -> Findings:
        """Comparisons at equal cost, curves, ablations and more; computed on the first access."""
        return findings(self._evidence, _OPTIONS)

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each run that failed or cannot be compared, with the reason."""
        return self._evidence.problems

    def rows(self, run: str | None = None) -> pl.DataFrame:
        """Return the rows of one run, one per image; `run` is its id or its label.

        Without a run, those of all runs, with its id in the column `run`; a metric that a run lacks
        is null there. docs/python.md explains the columns. Raises KeeprateError for a name
        that no run has, and for a label that several runs have.
        """
        points = [point for group in self.groups for point in group.points]
        if run is None:
            frames = [_named(point.run_id, self._store.rows(point.run_id)) for point in points]
            return pl.concat(frames, how="diagonal") if frames else pl.DataFrame()
        ids = [point.run_id for point in points if run in (point.run_id, point.label)]
        if len(ids) > 1:
            raise KeeprateError(f"Several runs are '{run}': name one by id, {', '.join(ids)}.")
        if not ids:
            raise unknown_name("run", run, [point.run_id for point in points])
        return self._store.rows(ids[0])

    def plot(self, report: str | None = None, figure: Figure | None = None) -> Any:
        """Return the chart of the report named `report`, or of the first report that has a chart.

        With a `figure` it is one for a paper, of these series, labels and sizes.

        A notebook shows it; `.save("chart.png")` writes it. Raises KeeprateError for an unknown
        report, for names in the figure that no run has, and if no report draws a chart.
        """
        plugins = registry()
        classes = (
            [plugins.report(report)]
            if report
            else [offered.cls for offered in plugins.reports.values()]
        )
        shown = figure_of(self._store, figure) if figure else without_places(self.findings)
        for cls in classes:
            # a report that draws no figures need not take one
            chart = cls().chart(shown, figure) if figure else cls().chart(shown)
            if chart is not None:
                return chart
        what = f"Report '{report}' draws" if report else "The reports here draw"
        raise KeeprateError(f"{what} no chart. `keeprate list` names the reports there are.")

    def report(
        self, folder: Path | str | None = None, formats: Sequence[str] | None = None
    ) -> list[Path]:
        """Write all reports, or those named by `formats`, into `folder`; return their files.

        The default folder is that of the runs. Raises KeeprateError for an unknown report, and,
        after the other reports are written, for reports that failed.
        """
        # a str is a sequence of its characters, none of which names a report
        if isinstance(formats, str):
            formats = [formats]
        output = None if folder is None else Path(folder)
        written = write_reports(self.folder, formats, output=output, found=self.findings)
        if written.failures:
            raise KeeprateError("\n".join(written.failure_lines())) from written.failures[0].error
        return list(written.files)

    def _places(self) -> tuple[str, ...]:
        runs = places_of(run.run for group in self._evidence.groups for run in group.runs)
        return (*runs, str(self.folder.absolute()))

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"<ComparisonTable of {len(self)} runs in {self.folder}>"

    def __str__(self) -> str:
        """Return the table of the reports in plain text."""
        parts = [f"{group.title}\n{_text(_columns(group))}" for group in self.groups]
        return "\n\n".join([*parts, *(f"Warning: {problem}" for problem in self.problems)])

    def _repr_html_(self) -> str:
        """Return the table of the reports as HTML, which a notebook shows, without whole paths."""
        short = without_places(_Shown(self.groups, self.problems), self._places())
        parts = [_html(group.title, _columns(group)) for group in short.groups]
        parts += [f"<p>Warning: {html.escape(problem)}</p>" for problem in short.problems]
        return "\n".join(parts)


@dataclass(frozen=True)
class _Shown:
    groups: tuple[GroupPoints, ...]
    problems: tuple[str, ...]


def load(*folders: Path | str) -> ComparisonTable:
    """Return the finished runs of one folder, or of several, as `keeprate.compare` returns its own.

    Raises KeeprateError for a folder that is missing or holds no finished run.
    """
    if not folders:
        raise KeeprateError("Name a folder of results, as keeprate.load('runs/first').")
    paths = [Path(folder) for folder in folders]
    for path in paths:
        check_folder(path)
    table = ComparisonTable(paths)
    if not len(table):
        raise KeeprateError(f"No finished run in {', '.join(map(str, paths))}.")
    return table


def _named(run_id: str, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.lit(run_id).alias("run"), pl.all())


def _columns(group: GroupPoints) -> tuple[Column, ...]:
    return table(group, _OPTIONS.level)


def _frame(groups: Sequence[GroupPoints]) -> pl.DataFrame:
    rows = records(groups)
    # a schema, because a column of None alone has no type
    schema = {name: _TYPES.get(name, pl.Float64) for name in (rows[0] if rows else _TYPES)}
    return pl.DataFrame(rows, schema=schema)


def _text(columns: Sequence[Column]) -> str:
    """Return columns side by side as plain text, with figures aligned to the right."""
    cells = [[column.heading, *column.texts] for column in columns]
    widths = [max(map(len, column)) for column in cells]
    lines = (
        "  ".join(
            text.rjust(width) if column.figures else text.ljust(width)
            for text, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in zip(*cells, strict=True)
    )
    return "\n".join(lines)


def _html(title: str, columns: Sequence[Column]) -> str:
    headings = "".join(f"<th>{html.escape(column.heading)}</th>" for column in columns)
    cells = [[_cell(text, column) for text in column.texts] for column in columns]
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*cells, strict=True))
    return (
        f"<table><caption>{html.escape(title)}</caption>"
        f"<thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _cell(text: str, column: Column) -> str:
    side = "right" if column.figures else "left"
    return f'<td style="text-align: {side}">{html.escape(text)}</td>'
