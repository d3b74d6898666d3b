"""All findings, unrounded, for another program."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.changes import Changes
    from keeprate.analysis.summary import Summary


class FindingsFile(Report):
    """Everything that any report shows, unrounded, in findings.report.json.

    Its keys are the fields of `keeprate.analysis.model.Findings`; `version` is raised when one
    changes.
    """

    name: ClassVar[str] = "findings"

    def write(self, summary: Summary, folder: Path) -> list[Path]:
        """Write findings.report.json."""
        return [_written(folder / "findings.report.json", asdict(summary.findings))]

    def write_changes(self, changes: Changes, folder: Path) -> list[Path]:
        """Write changes.report.json: keys are the fields of `keeprate.analysis.changes.Changes`."""
        return [_written(folder / "changes.report.json", asdict(changes))]


def _written(path: Path, content: dict[str, Any]) -> Path:
    text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", errors="replace")
    return path


def _plain(value: Any) -> Any:
    """Null for numbers that JSON has no spelling for."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
