"""Where things are: the project, its documentation, and what lies beside the checkout."""

from __future__ import annotations

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
"""The modules that tests share; on the path of processes that they start."""
TESTS = SUPPORT.parent
ROOT = TESTS.parent
DOCS = ROOT / "docs"
SHARED = ROOT.parent / "shared"
"""Data that does not ship with the project: tests of it are skipped where it is absent."""
