"""A test class in which every promise of a method is one test; needs pytest only to run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..method import Method
from .outcome import Outcome


class MethodConformance:
    """Derive your own `Test...` class and name the method: each promise becomes a test of it.

    Example::

        from keeprate.testing import MethodConformance

        class TestMine(MethodConformance):
            method = "key-norm"

    `method` is a registered name with parameters ("key-norm:power=1"), a plugin file that offers
    one method ("key_norm.py", beside the test's own file or in the working directory), a class, or
    an instance. `only` names the checks to run (default: all). `not_promised` names the checks that
    the method is known not to pass, each with the reason; pytest shows them as skipped.
    """

    method: ClassVar[str | type[Method] | Method]
    only: ClassVar[Sequence[str]] = ()
    not_promised: ClassVar[Mapping[str, str]] = {}

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make a test of every promise (pytest calls this)."""
        # a derived class may have other tests, which take no promise
        if "promise" in metafunc.fixturenames:
            # imported here, so that `keeprate.testing` itself stays quick to import
            from .runner import CHECKS, chosen

            chosen(CHECKS, tuple(self.not_promised))  # raises if one of the names is misspelled
            metafunc.parametrize("promise", [check.name for check in chosen(CHECKS, self.only)])

    def test_promise(self, promise: str) -> None:
        """The method keeps the promise."""
        # pytest shows the author's test, not this frame
        __tracebackhide__ = True
        if promise in self.not_promised:
            import pytest

            pytest.skip(self.not_promised[promise])
        settle(_outcome(type(self), promise))


def _outcome(cls: type[MethodConformance], promise: str) -> Outcome:
    from .lookup import subject_of
    from .runner import run_method

    method = cls.method
    if isinstance(method, str) and method.endswith(".py"):
        file = Path(inspect.getfile(cls)).parent / method
        method = str(file) if file.is_file() else method
    return next(iter(run_method(subject_of(method), [promise])))


def settle(outcome: Outcome) -> None:
    """Let the running test pass, skip or fail, according to the outcome."""
    import pytest  # which is there, since it runs this

    __tracebackhide__ = True
    if outcome.status == "not asked":
        pytest.skip(outcome.said)
    if not outcome.holds:
        pytest.fail(f"{outcome.check}: {outcome.status}\n{outcome.text}", pytrace=False)
