"""Arguments with names as the source of a specification: those of a call, or of a command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, ClassVar, Final

from ..errors import KeeprateError
from .problems import Problem, StudySource
from .yaml_lines import KeyPath

_OF_THE_MODEL: Final = ("weights", "image_size", "mean", "std", "interpolation", "crop_pct")


class Arguments(StudySource):
    """Arguments of a Python call; `model`, `weights`, `image_size` and others make `models`.

    Several models have a file of weights each, or none; `image_size` and the others are those of
    all. Arguments not of the model are keys of `StudySpec`. What is None is left out. Raises
    KeeprateError if models and files of weights are not as many.
    """

    equals: ClassVar[str | None] = "="

    def __init__(self, title: str, given: Mapping[str, object]) -> None:
        data = {key: _plain(value) for key, value in given.items() if value is not None}
        shared: dict[str, object] = {key: data.pop(key) for key in _OF_THE_MODEL if key in data}
        models = _models(data.pop("model", None), shared.pop("weights", None), shared)
        super().__init__(title, {**data, "models": models} if models != {} else data)

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


def _models(names: object, files: object, shared: dict[str, object]) -> object:
    """Return the entry of one model, which may lack a name, or a list of entries."""
    all_names, all_files = [None] if names is None else _listed(names), _listed(files)
    if all_files and len(all_files) != len(all_names):
        raise KeeprateError(
            f"weights: {len(all_files)} for {len(all_names)} models: give each model its own, in "
            "the same order, or none."
        )
    entries = [
        {
            key: value
            for key, value in {"name": name, "weights": file, **shared}.items()
            if value is not None
        }
        for name, file in zip_longest(all_names, all_files)
    ]
    return entries[0] if len(entries) == 1 else entries


def _listed(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _plain(value: object) -> object:
    """Return any sequence as a list, as YAML has them."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
