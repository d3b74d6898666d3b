"""Derive the module and the class of a new plugin from its name; refuse unusable names."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from ..errors import KeeprateError

MOST_CHARACTERS: Final = 30
"""Longest name in characters: longer ones would not fit into the lines of the templates."""

_NAME: Final = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_PYTEST: Final = re.compile(r"test.*|.*_test|conftest")
_USED: Final = (
    "Attention Backbone Callable CliRunner DataSet Findings GroupFindings ImageMetric "
    "KeeprateError Mapping Method MethodConformance Metric Needs Path Point Predictions Report "
    "Sample Sequence Shape Stage Store Targets Tensor TimmViT Tokens LIT SEGMENTS HEADINGS DATA "
    "LOADED EXAMPLES METRIC REPORT IT"
)
"""Names that the generated files use for something else."""


@dataclass(frozen=True)
class Names:
    """One thing's names: "my-method" as registered, `my_method` as module, `MyMethod` as class."""

    name: str
    module: str
    cls: str


def names_of(name: str, word: str) -> Names:
    """Derive module and class from the name of a new `word`, "method" for example.

    Raises KeeprateError, with the remedy, for a name that cannot be registered or that makes a
    module which Python or pytest would mistake for another.
    """
    _check_spelling(name)
    module = re.sub(r"[._-]", "_", name).lower()
    if keyword.iskeyword(module):
        raise _refusal(name, f"'{module}' is a word of Python's own")
    if _PYTEST.fullmatch(module) or module == "setup":
        raise _refusal(name, f"{module}.py would be taken for something else by pytest or pip")
    return Names(name, module, _class_name(name, word))


def check_not_importable(names: Names, folder: Path) -> None:
    """Raise KeeprateError for a name whose module Python can import already.

    Modules in `folder` or the working directory do not count.
    """
    location = _find_module(names.module, {folder.resolve(), Path.cwd()})
    if location:
        raise _refusal(names.name, f"there is a module '{names.module}' already ({location})")


def _check_spelling(name: str) -> None:
    if not _NAME.fullmatch(name) or not name.isascii():
        raise KeeprateError(
            f"{name!r} cannot be a name: it is made of letters, digits, '.', '_' and '-', begins "
            "with a letter, since a Python module of that name is made, and ends with a letter or "
            "a digit. Choose such a name."
        )
    if len(name) > MOST_CHARACTERS:
        raise KeeprateError(
            f"'{name}' has {len(name)} characters. Choose a name of at most {MOST_CHARACTERS}."
        )


def _class_name(name: str, word: str) -> str:
    """Return the name in CamelCase, with the kind behind it if the class name is used already."""
    parts = re.split(r"[._-]+", name)
    cls = "".join(part[0].upper() + part[1:] for part in parts)
    is_used = cls in _USED.split() or hasattr(builtins, cls) or keyword.iskeyword(cls)
    return cls + word.title().replace(" ", "") if is_used else cls


def _find_module(module: str, ignored: Collection[Path]) -> str:
    """Return where Python finds a module, "" if it does not; a folder without code is none."""
    # these need no file on the path, so the search below would miss some of them
    if module in sys.stdlib_module_names or module in sys.builtin_module_names:
        return "Python's own"
    folders = [folder for folder in sys.path if Path(folder).resolve() not in ignored]
    # PathFinder looks without importing anything
    spec = PathFinder.find_spec(module, folders)
    return spec.origin or "" if spec is not None else ""


def _refusal(name: str, why: str) -> KeeprateError:
    return KeeprateError(f"'{name}' cannot be the name: {why}. Choose another one.")
