"""Arguments with names as the source of a specification: those of a call, or of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from .problems import Problem, StudySource
from .yaml_lines import KeyPath

_OF_THE_MODEL: Final = ("weights", "image_size", "mean", "std", "interpolation", "crop_pct")


class Arguments(StudySource):
    """Arguments of a Python call; `model`, `weights`, `image_size` and others are one of `models`.

    Those not of the model are keys of `StudySpec`. What is None is left out.
    """

    equals: ClassVar[str | None] = "="

    def __init__(self, title: str, given: Mapping[str, object]) -> None:
        data = {key: _plain(value) for key, value in given.items() if value is not None}
        model: dict[str, object] = {key: data.pop(key) for key in _OF_THE_MODEL if key in data}
        if "model" in data:
            model["name"] = data.pop("model")
        super().__init__(title, {**data, "models": model} if model else data)

    def problem(self, path: KeyPath, text: str) -> Problem:
        """Return a problem that names the argument, and the place inside of what it holds."""
        path = self.written(path)
        name = self.argument(path)
        inside = () if path[0] == "models" else path[1:]
        places = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in inside]
        return Problem("".join([name, *places]), "", text)

    def assignment(self, path: KeyPath, value: str) -> str:
        """Return the argument with its value."""
        return f'{self.argument(path)}="{value}"'

    def argument(self, path: KeyPath) -> str:
        """Return the name of the argument that the value at `path` came from."""
        if path[0] != "models":
            return str(path[0])
        return str(path[-1]) if path[-1] in _OF_THE_MODEL else "model"


def _plain(value: object) -> object:
    """Return any sequence as a list, as YAML has them."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
