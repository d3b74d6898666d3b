"""The pytest plugin: `--keeprate-check FILE_OR_NAME`, and the fixture `keeprate_method`.

pytest loads it wherever keeprate is installed, so it imports nothing but pytest until one of the
two is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .bench import Subject
    from .outcome import Verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option (pytest calls this)."""
    parser.getgroup("keeprate").addoption(
        "--keeprate-check",
        action="append",
        default=[],
        metavar="FILE_OR_NAME",
        help="Also try every promise on this method, or on those that a plugin FILE.py offers.",
    )


@pytest.fixture
def keeprate_method() -> Callable[..., Verdict]:
    """A function that takes what `keeprate.testing.check` does and fails the test if that does."""

    def conforms(method: Any, **options: Any) -> Verdict:
        __tracebackhide__ = True
        from .checking import check

        verdict = check(method, **options)
        if not verdict.holds:
            pytest.fail(str(verdict), pytrace=False)
        return verdict

    return conforms


class Promise(pytest.Item):
    """One promise of one method, as a test."""

    def __init__(self, *, subject: Subject, check: str, **given: Any) -> None:
        super().__init__(**given)
        self.subject, self.check = subject, check

    def runtest(self) -> None:
        """Try the promise."""
        from .conformance import settle
        from .runner import run_method

        settle(next(iter(run_method(self.subject, [self.check]))))

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return where the promise is told to be: nowhere, under its own name."""
        return self.path, None, self.name


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the promises of what the option names (pytest calls this)."""
    for what in config.getoption("--keeprate-check"):
        found: list[pytest.Item | pytest.Collector] = list(_promises(session, what))
        items.extend(each for each in found if isinstance(each, pytest.Item))
        report = pytest.CollectReport(session.nodeid, "passed", None, found)
        config.hook.pytest_collectreport(report=report)  # so that they are counted


def _promises(session: pytest.Session, what: str) -> Iterator[Promise]:
    from ..errors import KeeprateError
    from .lookup import method_subject, named
    from .runner import CHECKS

    try:
        found, given = named(what)
    except KeeprateError as error:
        raise pytest.UsageError(f"--keeprate-check: {error}") from error
    if "methods" not in found:
        raise pytest.UsageError(f"--keeprate-check: '{what}' offers no method.")
    for cls in found["methods"]:
        subject = method_subject(cls, given)
        for check in CHECKS:
            name = f"keeprate[{subject.label}-{check.name}]"
            yield Promise.from_parent(session, name=name, subject=subject, check=check.name)
