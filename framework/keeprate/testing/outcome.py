"""Checks, their outcomes, and the text about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

S = TypeVar("S")

Status = Literal["kept", "broken", "not asked", "not tried"]

DOCS = "docs/conformance.md"
"""The page that explains every promise, each under the name of its check."""


class Broken(Exception):
    """A promise that was not kept: what happened, with numbers, and the input (`case`)."""

    def __init__(self, said: str, case: object = "") -> None:
        super().__init__(said)  # so that str(error) is the sentence, in any traceback
        self.said, self.case = said, case


class NotAsked(Exception):
    """A promise that this method, data set, ... does not have to keep, with the reason."""


class NotTried(Exception):
    """A promise that cannot be checked because another one is broken, with the reason."""


@dataclass(frozen=True)
class Check(Generic[S]):
    """One promise: its `name`, the promise in a sentence, and the function that tries it.

    `run` returns a note ("" for none) if the promise is kept, and raises `Broken`, `NotAsked` or
    `NotTried` otherwise; any other exception is the method's own. `looks_at` names the attributes
    of the class that most likely break the promise, the likeliest first. If a check named in
    `after` is broken, this one is not tried, because its result would mean nothing.
    """

    name: str
    promise: str
    run: Callable[[S], str]
    looks_at: tuple[str, ...] = ("reduce", "score")
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check.

    `said` is what happened, or why the promise was not asked or not tried. `case` is the input, as
    Python code that makes it again (`keeprate.testing.Case`). `where` is "FILE:LINE" of the
    function to look at.
    """

    check: str
    promise: str
    status: Status
    seconds: float
    said: str = ""
    case: str = ""
    where: str = ""

    @property
    def holds(self) -> bool:
        """Whether the promise is kept or not asked."""
        return self.status in ("kept", "not asked")

    @property
    def docs(self) -> str:
        """The section of the documentation that explains the promise."""
        return f'{DOCS}, "{self.check}"'

    @property
    def text(self) -> str:
        """Everything about a broken promise: one line for the promise, the event, the input, ..."""
        parts = (("promised", self.promise), ("happened", self.said), ("input", self.case))
        look_at = "; ".join(part for part in (self.where, self.docs) if part)
        return "\n".join(
            f"{name + ':':10}{text}" for name, text in (*parts, ("look at", look_at)) if text
        )


@dataclass(frozen=True)
class Verdict:
    """The outcomes of all checks of one subject, a method for example; `holds` if nothing broke."""

    subject: str
    outcomes: tuple[Outcome, ...]

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    @property
    def holds(self) -> bool:
        """Whether every promise that is asked is kept."""
        return all(outcome.holds for outcome in self.outcomes)

    @property
    def broken(self) -> tuple[Outcome, ...]:
        """The outcomes of promises that were not kept; those not tried are left out."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "broken")

    @property
    def seconds(self) -> float:
        """The time of all checks together."""
        return sum(outcome.seconds for outcome in self.outcomes)

    def __getitem__(self, check: str) -> Outcome:
        return next(outcome for outcome in self.outcomes if outcome.check == check)

    def __str__(self) -> str:
        failed = [outcome for outcome in self.outcomes if not outcome.holds]
        failures = [
            f"{outcome.check}: {outcome.status}\n{indented(outcome.text)}" for outcome in failed
        ]
        return "\n".join([f"{self.subject}: {totals(self.outcomes)}", *failures])


def totals(outcomes: tuple[Outcome, ...]) -> str:
    """Return the number of promises by status: "21 promises: 20 kept, 1 broken"."""
    counts = {status: 0 for status in ("kept", "broken", "not tried", "not asked")}
    for outcome in outcomes:
        counts[outcome.status] += 1
    parts = [f"{count} {status}" for status, count in counts.items() if count or status == "kept"]
    return f"{len(outcomes)} promises: {', '.join(parts)}"


def indented(text: str, by: int = 2) -> str:
    """Return the text with every line moved to the right by `by` spaces."""
    return "\n".join(" " * by + line for line in text.splitlines())
