"""The pytest plugin: `--keeprate-check FILE_OR_NAME`, and the fixture `keeprate_method`.

pytest loads it wherever keeprate is installed, so it imports only pytest until one of the two is
used.
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
        # pytest shows the line of the author's test, not this one
        __tracebackhide__ = True
        from .checking import check

        verdict = check(method, **options)
        if not verdict.holds:
            pytest.fail(str(verdict), pytrace=False)
        return verdict

    return conforms


class Promise(pytest.Item):
    """One promise of one method, as a test."""

    def __init__(self, *, subject: Subject, check: str, **item_options: Any) -> None:
        super().__init__(**item_options)
        self.subject, self.check = subject, check

    def runtest(self) -> None:
        """Try the promise."""
        from .conformance import settle
        from .runner import run_method

        settle(next(iter(run_method(self.subject, [self.check]))))

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Return a location without a line: the promise is shown under its own name alone."""
        return self.path, None, self.name


# first, so that pytest's own -k and -m select among the promises as well
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the promises of what the option names (pytest calls this)."""
    for name in config.getoption("--keeprate-check"):
        promises: list[pytest.Item | pytest.Collector] = list(_promises(session, name))
        items.extend(promise for promise in promises if isinstance(promise, pytest.Item))
        report = pytest.CollectReport(session.nodeid, "passed", None, promises)
        # items that no collector reports would be missing from pytest's count
        config.hook.pytest_collectreport(report=report)


def _promises(session: pytest.Session, name_or_file: str) -> Iterator[Promise]:
    from ..errors import KeeprateError
    from .lookup import method_subject, named
    from .runner import CHECKS

    try:
        classes_by_kind, values = named(name_or_file)
    except KeeprateError as error:
        # an error of usage is one line; another exception would be pytest's INTERNALERROR
        raise pytest.UsageError(f"--keeprate-check: {error}") from error
    if "methods" not in classes_by_kind:
        raise pytest.UsageError(f"--keeprate-check: '{name_or_file}' offers no method.")
    for cls in classes_by_kind["methods"]:
        subject = method_subject(cls, values)
        for check in CHECKS:
            name = f"keeprate[{subject.label}-{check.name}]"
            yield Promise.from_parent(session, name=name, subject=subject, check=check.name)
