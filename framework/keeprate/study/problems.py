"""Hold the data of a study with the changes of the command line, and collect its problems."""

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
    """Something to mend: `where` is "study.yaml:4" or "--set limit", `key` the key in question."""

    where: str
    key: str
    text: str
    line: int = 0
    """Line of the file (from 1), 0 if there is none."""

    def __str__(self) -> str:
        return ": ".join(filter(None, [self.where, self.key, self.text]))


class StudyProblems(KeeprateError):
    """All problems of a study, each on a line of its own."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems]
        indented = "".join(f"\n  {line}" for line in lines)
        super().__init__(
            lines[0] if len(lines) == 1 else f"{len(lines)} problems in {name}:{indented}"
        )


@dataclass(frozen=True)
class Override:
    """A value from the command line (`--set KEY=VALUE`), and its key path in the study."""

    key: str
    path: KeyPath
    value: object

    @classmethod
    def parse(cls, text: str) -> Override:
        """Parse `models.0.weights=FILE`; the value is YAML.

        Raises KeeprateError for a text that has no key or whose value is not YAML.
        """
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise KeeprateError(f"--set {text}: write KEY=VALUE, as --set limit=100.")
        try:
            parsed = read_value(value)
        except KeeprateError as error:
            raise KeeprateError(f"--set {key.strip()}: {error}") from error
        path = tuple(int(part) if part.isdecimal() else part for part in parts)
        return cls(key.strip(), path, parsed)

    def apply(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of `data` that has the value at its key path.

        On the way, a single value counts as a list of one, a text as the mapping with that name.
        Raises KeeprateError for a key path that does not exist.
        """
        changed: dict[str, Any] = self._place_value(copy.deepcopy(data), 0)
        return changed

    def _place_value(self, node: Any, depth: int) -> Any:
        if depth == len(self.path):
            return self.value
        part = self.path[depth]
        if isinstance(part, int):
            items = node if isinstance(node, list) else [] if node is None else [node]
            if part > len(items):
                raise self._path_error(depth, f"has {len(items)} items, counted from 0")
            inner = items[part] if part < len(items) else None
            return [*items[:part], self._place_value(inner, depth + 1), *items[part + 1 :]]
        if isinstance(node, list):
            raise self._path_error(
                depth, f"is a list: say which item, as {self._path_text(depth)}.0"
            )
        values = {"name": node} if isinstance(node, str) else node if node is not None else {}
        if not isinstance(values, dict):
            raise self._path_error(depth, "is a single value without keys")
        return {**values, part: self._place_value(values.get(part), depth + 1)}

    def _path_error(self, depth: int, reason: str) -> KeeprateError:
        return KeeprateError(f"--set {self.key}: {self._path_text(depth)} {reason}.")

    def _path_text(self, depth: int) -> str:
        return ".".join(map(str, self.path[:depth]))


@dataclass
class Problems:
    """The data of a study and the problems that were found in it so far, each once."""

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
            ledger._note(ledger._flaw_problem(flaw))
        for override in overrides:
            ledger._apply_override(override)
        # an override that fits nowhere has no line: what it meant to change is unknown
        if document.data is None or any(not problem.line for problem in ledger.problems):
            raise ledger.error()
        return ledger

    @property
    def problems(self) -> list[Problem]:
        """The problems in the order of their lines; those without a line come last."""
        return sorted(self._found.values(), key=lambda problem: (not problem.line, problem.line))

    def error(self) -> StudyProblems:
        """Return the error that lists all problems."""
        return StudyProblems(self.file, self.problems)

    def add(self, path: KeyPath, text: str) -> None:
        """Note a problem with the value at `path`; those that differ only in numbers count once."""
        self._note(self._problem(path, text))

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[None]:
        """Note a KeeprateError raised inside as a problem with the value at `path`."""
        try:
            yield
        except KeeprateError as error:
            self.add(path, str(error))

    def _apply_override(self, text: str) -> None:
        try:
            override = Override.parse(text)
            self.data = override.apply(self.data)
            self.overrides = [*self.overrides, override]
        except KeeprateError as error:
            where, _, message = str(error).partition(": ")
            self._note(Problem(where, "", message))

    def _note(self, problem: Problem) -> None:
        # a grid repeats a problem for each value of an axis: once is enough
        pattern = re.sub(r"\d[\d.]*", "#", problem.text)
        self._found.setdefault((problem.where, problem.key, pattern), problem)

    def _flaw_problem(self, flaw: Flaw) -> Problem:
        return Problem(f"{self.file}:{flaw.line}", _dotted(flaw.path), flaw.text, flaw.line)

    def _problem(self, path: KeyPath, text: str) -> Problem:
        path = self.written(path)
        # the last override of a key is the one whose value stands there
        for override in reversed(self.overrides):
            override_path = self.written(override.path)
            if path[: len(override_path)] == override_path:
                inner_path = path if len(path) > len(override_path) else ()
                return Problem(f"--set {override.key}", _dotted(inner_path), text)
        # a key that is missing has no line: that of the nearest key around it is shown
        known_paths = [path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines]
        if not known_paths:
            return Problem(self.file, _dotted(path), text)
        line = self.lines[known_paths[0]]
        return Problem(f"{self.file}:{line}", _dotted(path), text, line)

    def written(self, path: KeyPath) -> KeyPath:
        """Return the path as the file spells it, which may omit lists of one and the key `name`."""
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


def read_text(path: Path) -> str:
    """Return the text of a file. Raises KeeprateError, with the line, if it is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeeprateError(f"Cannot read '{path}': {error.strerror}.") from error
    try:
        return data.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KeeprateError(f"{path.name}:{line}: is not UTF-8 text. Save it as UTF-8.") from error


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))
