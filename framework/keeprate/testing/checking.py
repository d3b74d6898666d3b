"""`keeprate.testing.check`: the battery from Python."""

from __future__ import annotations

from collections.abc import Sequence

from .lookup import Named, subject_of
from .outcome import Verdict
from .runner import run_method


def check(method: Named, *, only: Sequence[str] = (), **parameters: object) -> Verdict:
    """Try every promise on a method, or those named in `only`, and return the verdict.

    `method` is a name ("NAME", "NAME:parameter=value"), a plugin file that offers one method, a
    class, or an instance; `parameters` are those of its constructor. Nothing is printed;
    `str(verdict)` says what failed. Raises KeeprateError for unknown names of methods, parameters
    and checks. An exception of the method itself is not raised: it is an outcome.

    Example: `assert check("name").holds`.
    """
    subject = subject_of(method, parameters)
    return Verdict(subject.label, tuple(run_method(subject, only)))
