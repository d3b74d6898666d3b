"""What `keeprate.compare` returns: the runs as a table, their rows, a chart, reports."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from .analysis.run_table import Column, table
from .analysis.summary import summarise
from .analysis.write import write_reports
from .errors import KeeprateError, unknown_name
from .plugins.registry import registry
from .results.records import Failure, Result
from .results.store import Store

if TYPE_CHECKING:
    from .analysis.summary import Line, Summary

COLUMNS: Final[dict[str, type[pl.DataType]]] = {
    "id": pl.String,
    "group": pl.String,
    "label": pl.String,
    "method": pl.String,
    "parameters": pl.String,
    "asked": pl.String,
    "budget": pl.String,
    "schedule": pl.String,
    "seed": pl.Int64,
    "reduces": pl.Boolean,
    "images": pl.Int64,
    "macs_model": pl.Float64,
    "macs_overhead": pl.Float64,
    "macs_total": pl.Float64,
    "share_percent": pl.Float64,
    "top1_percent": pl.Float64,
    "top1_low_percent": pl.Float64,
    "top1_high_percent": pl.Float64,
    "difference_points": pl.Float64,
    "difference_low_points": pl.Float64,
    "difference_high_points": pl.Float64,
    "p_value": pl.Float64,
    "top5_percent": pl.Float64,
    "agreement_percent": pl.Float64,
    "kl_nats": pl.Float64,
    "throughput_ratio": pl.Float64,
    "images_per_second": pl.Float64,
    "tokens": pl.String,
}
"""Columns of `ComparisonTable.frame`, as `keeprate.analysis.summary.Line` explains them."""


class ComparisonTable:
    """The finished runs of one comparison, the unpruned one among them.

    `frame` has a row for each run, the cheapest first: `macs_*` are multiply-accumulates per image,
    `*_percent` shares in per cent, `difference_*` percentage points against the unpruned model,
    with 95 % intervals, `kl_nats` a mean divergence in nats. docs/python.md explains every column.
    `summary` is what reports are written from, `folder` the store that the runs are in.
    """

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        """Read the runs of these ids; KeeprateError where one is missing or cannot be read."""
        self.folder = Path(folder)
        self._store = _Part(self.folder, ids)
        self.summary: Summary = summarise(self._store)
        self.frame = _frame(self.summary.lines)

    @property
    def problems(self) -> tuple[str, ...]:
        """A line for each run that failed, or cannot be compared, and why."""
        return self.summary.problems

    def rows(self, run: str) -> pl.DataFrame:
        """Return the rows of one run, one per image, named by its id or, if no other has it, label.

        Columns as in docs/runs.md: sample, label, prediction, correct, top5, correct_top5,
        confidence, agrees, kl (nats), tokens after each block, macs (multiply-accumulates). Raises
        KeeprateError for a name that no run has, or several have.
        """
        named = [line.id for line in self.summary.lines if run in (line.id, line.label)]
        if len(named) > 1:
            raise KeeprateError(f"Several runs are '{run}': name one by id, {', '.join(named)}.")
        if not named:
            raise unknown_name("run", run, [line.id for line in self.summary.lines])
        return self._store.rows(named[0])

    def plot(self, report: str | None = None) -> Any:
        """Return the chart that a report draws: of the first that has one, or of the one named.

        A notebook shows it; `.save("chart.png")` writes it. Raises KeeprateError for an unknown
        report, and where none draws a chart.
        """
        known = registry()
        chosen = [known.report(report)] if report else [each.cls for each in known.reports.values()]
        for cls in chosen:
            chart = cls().chart(self.summary)
            if chart is not None:
                return chart
        what = f"Report '{report}' draws" if report else "The reports here draw"
        raise KeeprateError(f"{what} no chart. `keeprate list` names the reports there are.")

    def report(
        self, folder: Path | str | None = None, formats: Sequence[str] | None = None
    ) -> list[Path]:
        """Write all reports, or those named by `formats`, into `folder`; return their files.

        The folder is that of the runs by default. Raises KeeprateError for an unknown report, and,
        once the others are written, for those that failed.
        """
        if isinstance(formats, str):
            formats = [formats]
        output = None if folder is None else Path(folder)
        written = write_reports(self.folder, formats, output=output, summary=self.summary)
        if written.failures:
            lines = "\n".join(str(failure) for failure in written.failures)
            raise KeeprateError(lines) from written.failures[0].error
        return list(written.files)

    def __len__(self) -> int:
        return self.frame.height

    def __repr__(self) -> str:
        return f"<ComparisonTable of {len(self)} runs in {self.folder}>"

    def __str__(self) -> str:
        """The table as reports show it, in plain text."""
        parts = [f"{group.title}\n{_text(table(group))}" for group in self.summary.groups]
        return "\n\n".join([*parts, *(f"Warning: {problem}" for problem in self.problems)])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        parts = [_html(group.title, table(group)) for group in self.summary.groups]
        parts += [f"<p>Warning: {html.escape(problem)}</p>" for problem in self.problems]
        return "\n".join(parts)


class _Part(Store):
    """Some runs of a store, as if there were no others."""

    def __init__(self, folder: Path, ids: Sequence[str]) -> None:
        super().__init__(folder)
        self._ids = frozenset(ids)

    def results(self) -> tuple[list[Result], list[str]]:
        """The runs of these ids that are finished."""
        failed = {failure.id for failure in self.failures()[0]}
        return [self.read(each) for each in sorted(self._ids - failed)], []

    def failures(self) -> tuple[list[Failure], list[str]]:
        """The runs of these ids that failed."""
        found, _ = super().failures()
        return [failure for failure in found if failure.id in self._ids], []


def _frame(lines: Sequence[Line]) -> pl.DataFrame:
    return pl.DataFrame([asdict(line) for line in lines], schema=COLUMNS)


def _text(columns: Sequence[Column]) -> str:
    """Columns side by side, figures flush right."""
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
