"""Write everything about a store as one file that any browser opens, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.model import Findings


class HtmlReport(Report):
    """One page with charts to filter, all tables, and where each figure is from, in report.html."""

    name: ClassVar[str] = "html"

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write report.html."""
        # jinja2 and altair take long to import, and start-up needs the class only
        from keeprate_reports.html_page import page_bytes

        path = folder / "report.html"
        path.write_bytes(page_bytes(findings))
        return [path]
