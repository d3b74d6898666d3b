"""The reports that come with keeprate: tables, figures, and files for other programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from keeprate.hookspecs import hookimpl

if TYPE_CHECKING:
    from keeprate.report import Report


@hookimpl
def keeprate_reports() -> Iterable[type[Report]]:
    """Offer the built-in reports."""
    # imported here, so that the command line starts quickly
    from keeprate_reports.accuracy_plot import AccuracyPlot
    from keeprate_reports.alike_csv import AlikeCsv
    from keeprate_reports.comparisons_csv import ComparisonsCsv
    from keeprate_reports.csv_table import CsvTable
    from keeprate_reports.findings_file import FindingsFile
    from keeprate_reports.html_report import HtmlReport
    from keeprate_reports.latex_tables import LatexTables
    from keeprate_reports.markdown_table import MarkdownTable

    return [
        MarkdownTable,
        CsvTable,
        ComparisonsCsv,
        AlikeCsv,
        FindingsFile,
        HtmlReport,
        LatexTables,
        AccuracyPlot,
    ]
