"""What `keeprate.compare` returns: the runs as a table, their rows, a chart, reports."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl

from .analysis.build import findings
from .analysis.model import Findings, GroupPoints, ReportOptions
from .analysis.points import points_of
from .analysis.run_table import Column, records, table
from .analysis.runs import gather
from .analysis.write import write_reports
from .errors import KeeprateError, unknown_name
from .plugins.registry import registry
from .results.records import Failure, Result
from .results.store import Store

_TEXTS: Final = ("id", "group", "label", "method", "parameters", "asked", "budget", "schedule")
_TYPES: Final[dict[str, type[pl.DataType]]] = {
    **dict.fromkeys((*_TEXTS, "tokens"), pl.String),
    **dict.fromkeys(("seed", "images"), pl.Int64),
    "reduces": pl.Boolean,
}
"""Types of the columns that hold no figures in floating point."""
_OPTIONS: Final = ReportOptions()


class ComparisonTable:
    """The finished runs of one comparison, the unpruned one among them.

    `frame` has a row for each run, the cheapest first: `macs_*` are multiply-accumulates per image,
    `*_percent` shares in per cent, `difference_*` percentage points against the unpruned model,
    with 95 % intervals; every metric that a run has is a column, its unit in the name.
    docs/python.md explains every column. `groups` are the same runs as objects, `findings` what
    reports are written from; `folder` is the store that holds the runs.
    """

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        """Read the runs `ids`; raise KeeprateError if one is missing or cannot be read."""
        self.folder = Path(folder)
        self._store = _StorePart(self.folder, ids)
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

    def rows(self, run: str) -> pl.DataFrame:
        """Return the rows of one run, one per image; `run` is its id or its label.

        Columns as in docs/runs.md: sample, label, prediction, top5, confidence, tokens after each
        block, macs (multiply-accumulates), and one for each metric with values, as correct. Raises
        KeeprateError for a name that no run has, and for a label that several runs have.
        """
        points = [point for group in self.groups for point in group.points]
        ids = [point.run_id for point in points if run in (point.run_id, point.label)]
        if len(ids) > 1:
            raise KeeprateError(f"Several runs are '{run}': name one by id, {', '.join(ids)}.")
        if not ids:
            raise unknown_name("run", run, [point.run_id for point in points])
        return self._store.rows(ids[0])

    def plot(self, report: str | None = None) -> Any:
        """Return the chart of the report named `report`, or of the first report that has a chart.

        A notebook shows it; `.save("chart.png")` writes it. Raises KeeprateError for an unknown
        report, and if no report draws a chart.
        """
        plugins = registry()
        classes = (
            [plugins.report(report)]
            if report
            else [offered.cls for offered in plugins.reports.values()]
        )
        for cls in classes:
            chart = cls().chart(self.findings)
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

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"<ComparisonTable of {len(self)} runs in {self.folder}>"

    def __str__(self) -> str:
        """Return the table of the reports in plain text."""
        parts = [f"{group.title}\n{_text(_columns(group))}" for group in self.groups]
        return "\n\n".join([*parts, *(f"Warning: {problem}" for problem in self.problems)])

    def _repr_html_(self) -> str:
        """Return the table of the reports as HTML, which a notebook shows."""
        parts = [_html(group.title, _columns(group)) for group in self.groups]
        parts += [f"<p>Warning: {html.escape(problem)}</p>" for problem in self.problems]
        return "\n".join(parts)


class _StorePart(Store):
    """A store that shows only some of the runs of a folder."""

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        super().__init__(folder)
        self._ids = frozenset(ids)

    def results(self) -> tuple[list[Result], list[str]]:
        """Return the finished runs among these ids."""
        # a failed run has no result that could be read
        failed = {failure.id for failure in self.failures()[0]}
        return [self.read(run_id) for run_id in sorted(self._ids - failed)], []

    def failures(self) -> tuple[list[Failure], list[str]]:
        """Return the failed runs among these ids."""
        failures, _ = super().failures()
        return [failure for failure in failures if failure.id in self._ids], []


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
