"""Write all findings, unrounded, for another program."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.changes import Changes
    from keeprate.analysis.model import Findings


class FindingsFile(Report):
    """Everything that any report shows, unrounded, in findings.report.json.

    Its keys are the fields of `keeprate.analysis.model.Findings`; `version` rises when a field
    changes.
    """

    name: ClassVar[str] = "findings"
    shows_places: ClassVar[bool] = True

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write findings.report.json."""
        return [_write_json(folder / "findings.report.json", asdict(findings))]

    def write_changes(self, changes: Changes, folder: Path) -> list[Path]:
        """Write changes.report.json: keys are the fields of `keeprate.analysis.changes.Changes`."""
        return [_write_json(folder / "changes.report.json", asdict(changes))]


def _write_json(path: Path, content: dict[str, Any]) -> Path:
    text = json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", errors="replace")
    return path


def _finite(value: Any) -> Any:
    """Replace numbers that JSON cannot spell, infinities and NaN, by None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
