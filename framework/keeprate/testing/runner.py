"""Run the checks of a method one by one, so that no failure hides another."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from ..errors import KeeprateError, unknown_name
from ..plugins.author_errors import definition_place, package_of, raise_place
from .bench import Bench, Subject
from .cases import KINDS
from .global_state import left_as_found
from .outcome import Broken, Check, NotAsked, NotTried, Outcome
from .promises.cost import ECONOMY, READS
from .promises.declared import DECLARED, PICKLES
from .promises.edges import EDGES
from .promises.invariance import INVARIANCE, REPEATS
from .promises.precision import PRECISION
from .promises.skipping import SKIPPING
from .promises.tokens import TOKENS

S = TypeVar("S")

CHECKS: tuple[Check[Bench], ...] = (
    *DECLARED,
    READS,
    *SKIPPING,
    *TOKENS,
    REPEATS,
    *EDGES,
    *INVARIANCE,
    PICKLES,
    *PRECISION,
    *ECONOMY,
)
"""Every promise of a method, in the order in which they are tried. Promises that keeprate itself
enforces come first, so that a failure is reported under the name of the promise it breaks."""


def chosen(checks: Sequence[Check[S]], only: Sequence[str]) -> list[Check[S]]:
    """Return the checks named in `only`, or all if it is empty; KeeprateError for unknown names."""
    names = [check.name for check in checks]
    for name in only:
        if name not in names:
            raise unknown_name("check", name, names)
    return [check for check in checks if not only or check.name in only]


def run_checks(checks: Iterable[Check[S]], cls: type, made: Callable[[], S]) -> Iterator[Outcome]:
    """Yield the outcome of each check of the class `cls` as soon as the check ends.

    `made` makes the subject, which all checks share. If several checks end with the same
    exception, the first is reported as broken and the others as not tried.
    """
    told: dict[tuple[str, str], str] = {}
    broken: list[str] = []
    subject: S | None = None
    for check in checks:
        start = time.perf_counter()
        with left_as_found():
            try:
                _try_after(check, broken)
                # made inside: an exception of the constructor is the first check's outcome
                subject = made() if subject is None else subject
                outcome = Outcome(check.name, check.promise, "kept", 0.0, check.run(subject))
            except Exception as error:
                outcome = _outcome(check, cls, error, told)
        broken += [check.name] if outcome.status == "broken" else []
        seconds = time.perf_counter() - start
        yield Outcome(**{**vars(outcome), "seconds": seconds})


def run_method(
    subject: Subject, only: Sequence[str] = (), kinds: Collection[str] = tuple(KINDS)
) -> Iterator[Outcome]:
    """Yield the outcome of each check of a method; KeeprateError for a name that no check has.

    `kinds` are the kinds of model that are tried, all by default.
    """
    picked = chosen(CHECKS, only)
    return run_checks(picked, subject.cls, lambda: Bench.of(subject, kinds))


def _try_after(check: Check[S], broken: Sequence[str]) -> None:
    for name in check.after:
        if name in broken:
            # two runs of a method that never repeats itself differ whatever else is right
            raise NotTried(f"it would tell nothing while '{name}' is broken")


def _outcome(
    check: Check[S], cls: type, error: Exception, told: dict[tuple[str, str], str]
) -> Outcome:
    """Return the outcome of a check that ended with an exception."""
    name, promise = check.name, check.promise
    if isinstance(error, NotAsked):
        return Outcome(name, promise, "not asked", 0.0, str(error))
    # a check explains what it met: the exception behind it is what checks have in common
    cause = error.__cause__ if isinstance(error, Broken | NotTried) else error
    seen = None if cause is None else _signature(cause)
    if seen in told:
        return Outcome(name, promise, "not tried", 0.0, f"it ends as '{told[seen]}' does")
    if isinstance(error, NotTried):
        return Outcome(name, promise, "not tried", 0.0, str(error))
    if seen is not None:
        told.setdefault(seen, name)
    return Outcome(name, promise, "broken", 0.0, *_told(check, cls, error))


def _told(check: Check[S], cls: type, error: Exception) -> tuple[str, str, str]:
    """Return what happened, the input, and the place to look at."""
    where = _written(cls, check.looks_at)
    if isinstance(error, Broken):
        return error.said, str(error.case), where
    case = str(getattr(error, "keeprate_case", ""))
    said = " ".join(str(error).split())
    raised = raise_place(error.__cause__ or error, package_of(cls))
    if isinstance(error, KeeprateError):
        return said, case, raised or where
    return f"raised {type(error).__name__}: {said}".removesuffix(": "), case, raised or where


def _written(cls: type, names: Sequence[str]) -> str:
    """Return "FILE:LINE (NAME)" of the first of these attributes that the author's code defines."""
    for name in names:
        for each in cls.__mro__:
            if name in vars(each) and package_of(each) not in ("keeprate", "builtins"):
                place = definition_place(vars(each)[name]) or definition_place(each)
                return f"{place} ({name})" if place else ""
    return definition_place(cls)


def _signature(error: BaseException) -> tuple[str, str]:
    """Return the part of an exception that does not depend on the input."""
    # numbers are shapes, blocks and images, which differ from case to case
    return type(error).__name__, re.sub(r"\d+", "#", str(error))
