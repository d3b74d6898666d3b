"""Fixtures of the tests of the HTML page in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from html_browser import Browser, browsing, show_two_groups


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a window; tests that use it skip where there is none."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """The browser, showing a page with two groups."""
    return show_two_groups(browser, tmp_path)
