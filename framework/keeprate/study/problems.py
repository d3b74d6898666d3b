"""A study's text and what the command line changed of it; problems are told with their place."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import KeeprateError
from .yaml_lines import Flaw, KeyPath, read_document, read_value


@dataclass(frozen=True)
class Problem:
    """Something to mend: `where` is "study.yaml:4" or "--set limit", `key` what stands there."""

    where: str
    key: str
    text: str
    line: int = 0
    """Line of the file (from 1), 0 where there is none."""

    def __str__(self) -> str:
        return ": ".join(filter(None, [self.where, self.key, self.text]))


class StudyProblems(KeeprateError):
    """Everything that is wrong with a study, each problem on a line of its own."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        listed = [str(problem) for problem in self.problems]
        many = "".join(f"\n  {each}" for each in listed)
        super().__init__(
            listed[0] if len(listed) == 1 else f"{len(listed)} problems in {name}:{many}"
        )


@dataclass(frozen=True)
class Override:
    """A value from the command line (`--set KEY=VALUE`), and where in the study it goes."""

    key: str
    path: KeyPath
    value: object

    @classmethod
    def parse(cls, text: str) -> Override:
        """Parse `models.0.weights=FILE`; the value is YAML.

        Raises KeeprateError for what has no key or whose value is not YAML.
        """
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise KeeprateError(f"--set {text}: write KEY=VALUE, as --set limit=100.")
        try:
            read = read_value(value)
        except KeeprateError as error:
            raise KeeprateError(f"--set {key.strip()}: {error}") from error
        path = tuple(int(part) if part.isdecimal() else part for part in parts)
        return cls(key.strip(), path, read)

    def apply(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return `data` with the value in its place.

        On the way a single value stands for a list of it, a text for the mapping of that name.
        Raises KeeprateError for a place that is not there.
        """
        changed: dict[str, Any] = self._placed(copy.deepcopy(data), 0)
        return changed

    def _placed(self, node: Any, depth: int) -> Any:
        if depth == len(self.path):
            return self.value
        part = self.path[depth]
        if isinstance(part, int):
            items = node if isinstance(node, list) else [] if node is None else [node]
            if part > len(items):
                raise self._nowhere(depth, f"has {len(items)} items, counted from 0")
            inner = items[part] if part < len(items) else None
            return [*items[:part], self._placed(inner, depth + 1), *items[part + 1 :]]
        if isinstance(node, list):
            raise self._nowhere(depth, f"is a list: say which item, as {self._shown(depth)}.0")
        values = {"name": node} if isinstance(node, str) else node if node is not None else {}
        if not isinstance(values, dict):
            raise self._nowhere(depth, "is a single value without keys")
        return {**values, part: self._placed(values.get(part), depth + 1)}

    def _nowhere(self, depth: int, reason: str) -> KeeprateError:
        return KeeprateError(f"--set {self.key}: {self._shown(depth)} {reason}.")

    def _shown(self, depth: int) -> str:
        return ".".join(map(str, self.path[:depth]))


@dataclass
class Problems:
    """The data of a study and the problems found in it so far, each once."""

    file: str
    data: dict[str, Any]
    lines: dict[KeyPath, int]
    overrides: Sequence[Override] = ()
    _found: dict[tuple[str, str, str], Problem] = field(default_factory=dict)

    @classmethod
    def of(cls, file: str, text: str, overrides: Sequence[str]) -> Problems:
        """Read a study's text and apply the overrides.

        Raises StudyProblems if the text is no YAML mapping or an override fits nowhere.
        """
        document = read_document(text)
        ledger = cls(file, document.data or {}, dict(document.lines))
        for flaw in document.flaws:
            ledger._note(ledger._flawed(flaw))
        for each in overrides:
            ledger._override(each)
        if document.data is None or any(not found.line for found in ledger.problems):
            raise ledger.error()
        return ledger

    @property
    def problems(self) -> list[Problem]:
        """What was found, in the order of the lines; what stands on no line comes last."""
        return sorted(self._found.values(), key=lambda each: (not each.line, each.line))

    def error(self) -> StudyProblems:
        """The error that tells all problems found."""
        return StudyProblems(self.file, self.problems)

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem with the value at `path`; the same one with other numbers counts once."""
        self._note(self._problem(path, text))

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """Note a KeeprateError raised inside as a problem with the value at `path`."""
        try:
            yield
        except KeeprateError as error:
            self.add(path, str(error))

    def _override(self, text: str) -> None:
        try:
            override = Override.parse(text)
            self.data = override.apply(self.data)
            self.overrides = [*self.overrides, override]
        except KeeprateError as error:
            where, _, said = str(error).partition(": ")
            self._note(Problem(where, "", said))

    def _note(self, problem: Problem) -> None:
        about = re.sub(r"\d[\d.]*", "#", problem.text)
        self._found.setdefault((problem.where, problem.key, about), problem)

    def _flawed(self, flaw: Flaw) -> Problem:
        return Problem(f"{self.file}:{flaw.line}", _dotted(flaw.path), flaw.text, flaw.line)

    def _problem(self, path: KeyPath, text: str) -> Problem:
        path = self.written(path)
        for override in reversed(self.overrides):
            theirs = self.written(override.path)
            if path[: len(theirs)] == theirs:
                inside = path if len(path) > len(theirs) else ()
                return Problem(f"--set {override.key}", _dotted(inside), text)
        known = [path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines]
        if not known:
            return Problem(self.file, _dotted(path), text)
        line = self.lines[known[0]]
        return Problem(f"{self.file}:{line}", _dotted(path), text, line)

    def written(self, path: KeyPath) -> KeyPath:
        """Return the path as it stands in the file, where lists of one and names are short."""
        node: Any = self.data
        written: list[str | int] = []
        for part in path:
            if isinstance(node, list) and isinstance(part, int) and part < len(node):
                node = node[part]
            elif isinstance(node, dict) and isinstance(part, str):
                node = node.get(part)
            else:
                continue
            written.append(part)
        return tuple(written)


def read_text(path: Path) -> str:
    """Return the text of a file; KeeprateError, with the line, where it is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeeprateError(f"Cannot read '{path}': {error.strerror}.") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KeeprateError(f"{path.name}:{line}: is not UTF-8 text. Save it as UTF-8.") from error


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))
