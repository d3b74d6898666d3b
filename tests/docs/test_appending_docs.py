"""The method of docs/appending_tokens.md keeps the promises the page speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keeprate.testing import check
from paths import DOCS

pytestmark = pytest.mark.usefixtures("own_registry")


def test_the_method_of_the_page_keeps_its_promises(tmp_path: Path) -> None:
    page = (DOCS / "appending_tokens.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(# mean_rest\.py\n.*?)```", page, flags=re.DOTALL)
    plugin = tmp_path / "mean_rest.py"
    plugin.write_text(code)
    verdict = check(str(plugin), only=["described", "counts", "sizes", "trace"])
    assert verdict.holds, str(verdict)
