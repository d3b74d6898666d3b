"""Typed options as the source of the specification of a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..study import Arguments, Problem
from ..study.yaml_lines import KeyPath


class TypedOptions(Arguments):
    """The options of a command by the names of their arguments; `spelling` has "--budget" etc."""

    equals: ClassVar[str | None] = None

    def __init__(self, options: Mapping[str, object], spelling: Mapping[str, str]) -> None:
        # an option that may be repeated, and was not typed, is an empty tuple
        super().__init__(
            "these options", {key: value for key, value in options.items() if value != ()}
        )
        self._spelling = spelling

    def problem(self, path: KeyPath, text: str) -> Problem:
        """Return a problem that names the option."""
        return Problem(self._spelling[self.argument(path)], "", text)

    def assignment(self, path: KeyPath, value: str) -> str:
        """Return the option with its value."""
        return f"{self._spelling[self.argument(path)]} {value}"
