"""Study files as the source of a specification, with the changes of `--set`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import KeeprateError
from .problems import Problem, Problems, StudySource
from .yaml_lines import KeyPath, read_document, read_value


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
class StudyFile(StudySource):
    """The data of a study file after its overrides; `lines` (from 1) are those of its keys."""

    equals: ClassVar[str | None] = ": "
    tells_all: ClassVar[bool] = True
    lines: dict[KeyPath, int]
    overrides: list[Override] = field(default_factory=list)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """Return a problem that names the override whose value stands there, or else the line."""
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
            return Problem(self.title, _dotted(path), text)
        return self.at_line(self.lines[known_paths[0]], path, text)

    def at_line(self, line: int, path: KeyPath, text: str) -> Problem:
        """Return a problem with the value at `path` that stands on a known line."""
        return Problem(f"{self.title}:{line}", _dotted(path), text, line)

    def assignment(self, path: KeyPath, value: str) -> str:
        """Return the override that gives the value, since a ready study is no file to edit."""
        return f"--set {_dotted(self.written(path))}={value}"


def read_study_text(title: str, text: str, overrides: Sequence[str]) -> Problems:
    """Read a study's text, apply the overrides, and return the ledger for both.

    Raises StudyProblems if the text is no YAML mapping or an override fits nowhere.
    """
    document = read_document(text)
    file = StudyFile(title, document.data or {}, dict(document.lines))
    ledger = Problems(file)
    for flaw in document.flaws:
        ledger.note(file.at_line(flaw.line, flaw.path, flaw.text))
    for override_text in overrides:
        try:
            override = Override.parse(override_text)
            file.data = override.apply(file.data)
            file.overrides.append(override)
        except KeeprateError as error:
            where, _, message = str(error).partition(": ")
            ledger.note(Problem(where, "", message))
    # an override that fits nowhere has no line: what it meant to change is unknown
    if document.data is None or any(not problem.line for problem in ledger.problems):
        raise ledger.error()
    return ledger


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))
