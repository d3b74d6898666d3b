"""What a check is, what comes of one, and how that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

S = TypeVar("S")

Status = Literal["kept", "broken", "not asked", "not tried"]

DOCS = "docs/conformance.md"
"""Where every promise is written out, each under the name of its check."""


class Broken(Exception):
    """A promise that was not kept: what happened, with numbers, and `case`, the input it was on."""

    def __init__(self, said: str, case: object = "") -> None:
        super().__init__(said)
        self.said, self.case = said, case


class NotAsked(Exception):
    """A promise that this method, data set or report does not have to keep, and why."""


class NotTried(Exception):
    """A promise that cannot be looked at, since another one is broken: what stands in the way."""


@dataclass(frozen=True)
class Check(Generic[S]):
    """One promise: `name`, what is promised in a sentence, and the function that tries it.

    `run` returns a note ("" for none) where the promise is kept and raises `Broken`, `NotAsked` or
    `NotTried`; any other exception is the method's own. `looks_at` names the attributes of the
    class that a broken promise is most likely due to, the likeliest first. It tells something only
    where the checks `after` which it comes are not broken.
    """

    name: str
    promise: str
    run: Callable[[S], str]
    looks_at: tuple[str, ...] = ("reduce", "score")
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of one check.

    `said` is what happened, or why the promise was not asked or not tried; `case` the input, as
    Python code that makes it again (`keeprate.testing.Case`); `where` is "FILE:LINE" of the
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
        """Whether nothing is wrong: the promise is kept, or not asked."""
        return self.status in ("kept", "not asked")

    @property
    def docs(self) -> str:
        """The section of the documentation that explains the promise."""
        return f'{DOCS}, "{self.check}"'

    @property
    def text(self) -> str:
        """Everything about a broken promise, on lines of their own."""
        parts = (("promised", self.promise), ("happened", self.said), ("input", self.case))
        look = "; ".join(part for part in (self.where, self.docs) if part)
        return "\n".join(
            f"{name + ':':10}{said}" for name, said in (*parts, ("look at", look)) if said
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
        """Whether every promise is kept, as far as it is asked."""
        return all(outcome.holds for outcome in self.outcomes)

    @property
    def broken(self) -> tuple[Outcome, ...]:
        """The outcomes of promises that were not kept, without those that could not be tried."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "broken")

    @property
    def seconds(self) -> float:
        """What all checks took together."""
        return sum(outcome.seconds for outcome in self.outcomes)

    def __getitem__(self, check: str) -> Outcome:
        return next(outcome for outcome in self.outcomes if outcome.check == check)

    def __str__(self) -> str:
        wrong = [each for each in self.outcomes if not each.holds]
        failures = [f"{each.check}: {each.status}\n{indented(each.text)}" for each in wrong]
        return "\n".join([f"{self.subject}: {totals(self.outcomes)}", *failures])


def totals(outcomes: tuple[Outcome, ...]) -> str:
    """Return how many promises were kept and how many not, "20 promises kept, 1 broken"."""
    counts = {status: 0 for status in ("kept", "broken", "not tried", "not asked")}
    for outcome in outcomes:
        counts[outcome.status] += 1
    shown = [f"{count} {status}" for status, count in counts.items() if count or status == "kept"]
    return f"{len(outcomes)} promises: {', '.join(shown)}"


def indented(text: str, by: int = 2) -> str:
    """Return text with every line moved to the right."""
    return "\n".join(" " * by + line for line in text.splitlines())
