"""Collect the problems of a specification, each named where its front end was told the value."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import KeeprateError
from .yaml_lines import KeyPath


@dataclass(frozen=True)
class Problem:
    """Something to mend: `where` is "study.yaml:4", "--limit" or "limit", `key` the key there."""

    where: str
    key: str
    text: str
    line: int = 0
    """Line of the file (from 1), 0 if there is none."""

    def __str__(self) -> str:
        return ": ".join(filter(None, [self.where, self.key, self.text]))


class StudyProblems(KeeprateError):
    """All problems of a study, each on a line of its own."""

    def __init__(self, title: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        indented = "".join(f"\n  {line}" for line in lines)
        super().__init__(
            lines[0] if len(lines) == 1 else f"{len(lines)} problems in {title}:{indented}"
        )


@dataclass
class StudySource(ABC):
    """What a front end was told: a mapping of `StudySpec`'s keys, and how it names its places.

    `title` stands for all of it in messages, for example "study.yaml".
    """

    title: str
    data: dict[str, Any]
    equals: ClassVar[str | None] = None
    """What stands between a key and its value; None where options stay options."""
    tells_all: ClassVar[bool] = False
    """Whether shapes are checked even if names are wrong, so that all problems are told at once."""

    @abstractmethod
    def problem(self, path: KeyPath, text: str) -> Problem:
        """Return a problem that names the value at `path` as the user gave it."""

    @abstractmethod
    def assignment(self, path: KeyPath, value: str) -> str:
        """Return what a user writes to give the key at `path` a value."""

    def worded(self, text: str) -> str:
        """Return a text with options ("--image-size PIXELS") as this front end spells them."""
        if self.equals is None:
            return text
        return re.sub(
            r"--([a-z-]+) (?=[A-Z])",
            lambda match: f"{match[1].replace('-', '_')}{self.equals}",
            text,
        )

    def written(self, path: KeyPath) -> KeyPath:
        """Return the path as the user wrote it, who may omit lists of one and the key `name`."""
        node: Any = self.data
        parts: list[str | int] = []
        for part in path:
            if isinstance(node, list) and isinstance(part, int) and part < len(node):
                node = node[part]
            elif isinstance(node, dict) and isinstance(part, str):
                node = node.get(part)
            else:
                continue
            parts.append(part)
        return tuple(parts)


@dataclass
class Problems:
    """The problems that were found in a source so far, each once."""

    source: StudySource
    _found: dict[tuple[str, str, str], Problem] = field(default_factory=dict)

    @property
    def problems(self) -> list[Problem]:
        """The problems in the order of their lines; those without a line come last."""
        return sorted(self._found.values(), key=lambda problem: (not problem.line, problem.line))

    def error(self) -> StudyProblems:
        """Return the error that lists all problems."""
        return StudyProblems(self.source.title, self.problems)

    def raise_early(self) -> None:
        """Raise the error for what was found so far, unless the source wants all told at once."""
        if self.problems and not self.source.tells_all:
            raise self.error()

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem with the value at `path`.

        Those that differ only in numbers, or in the parameters of a method, count once.
        """
        self.note(self.source.problem(path, self.source.worded(text)))

    def note(self, problem: Problem) -> None:
        """Note a problem whose place is known."""
        # a grid repeats a problem for each value of an axis: once is enough
        unset = re.sub(r"(method '[^\s']+) [^']*'", r"\1'", problem.text)
        pattern = re.sub(r"\d[\d.]*", "#", unset)
        self._found.setdefault((problem.where, problem.key, pattern), problem)

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """Note a KeeprateError raised inside as a problem with the value at `path`."""
        try:
            yield
        except KeeprateError as error:
            self.add(path, str(error))
