"""Define the kinds of things that plugins offer, and check the classes that they offer."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import AuthorError, KeeprateError
from ..method import Method
from .parameters import check_defaults, parameters_of

T_co = TypeVar("T_co", covariant=True)

RESERVED = frozenset(
    {
        *("model", "method", "schedule", "budget", "calibration", "image_size"),
        *("empty_last_mlp", "trace", "check_values"),
    }
)
"""Arguments of `keeprate.reduce`: a method's parameters stand beside them under other names."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class PluginKind:
    """One kind of thing that plugins offer: its word, its hook, and its base class."""

    word: str
    hook: str
    module: str
    interface: str
    has_parameters: bool = False


KINDS = {
    "methods": PluginKind("method", "keeprate_methods", "method", "Method", has_parameters=True),
    "backbones": PluginKind("backbone", "keeprate_backbones", "backbone", "Backbone"),
    "datasets": PluginKind(
        "data set", "keeprate_datasets", "dataset", "DataSet", has_parameters=True
    ),
    "metrics": PluginKind("metric", "keeprate_metrics", "metric", "Metric"),
    "reports": PluginKind("report", "keeprate_reports", "report", "Report"),
    "engines": PluginKind("engine", "keeprate_engines", "engine", "Engine", has_parameters=True),
    "strategies": PluginKind(
        "strategy", "keeprate_strategies", "strategy", "Strategy", has_parameters=True
    ),
}


@dataclass(frozen=True)
class Registered(Generic[T_co]):
    """A class that a plugin offers under a name, and the plugin's origin and version (or "")."""

    name: str
    cls: type[T_co]
    plugin: str
    origin: str
    version: str

    @property
    def description(self) -> str:
        """The first sentence of the class's docstring, "" if it has none."""
        docstring = inspect.cleandoc(self.cls.__doc__ or "")
        if docstring.startswith(f"{self.cls.__name__}("):  # what dataclasses put in its place
            return ""
        paragraph = " ".join(docstring.split("\n\n")[0].split())
        sentence = re.match(r".+?[.!?](?=\s+[A-Z]|$)", paragraph)
        return sentence[0] if sentence else paragraph


def check_class(kind: PluginKind, cls: object) -> str:
    """Return the name of `cls`. Raises AuthorError with the reason if it cannot be a `kind`."""
    if not isinstance(cls, type):
        raise _not_a_class(kind, cls)
    name = _check_name(cls)
    # imported only here, because some interfaces import torch, which takes long
    interface = getattr(import_module(f"keeprate.{kind.module}"), kind.interface)
    if not issubclass(cls, interface):
        raise AuthorError(
            f"{cls.__name__} is not a subclass of {_import_name(kind)}",
            f"Write class {cls.__name__}({kind.interface}), from {_import_name(kind)}.",
            cls,
        )
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise AuthorError(
            f"{cls.__name__} does not implement {', '.join(missing)}",
            f"Every {kind.word} does: docs/plugins.md has an example.",
            cls,
        )
    if kind.has_parameters:
        _check_parameters(kind, cls)
    return name


def _not_a_class(kind: PluginKind, offered: object) -> AuthorError:
    cls = type(offered)
    # a value such as a text has no class of the author's that the remedy could name
    if cls.__module__ == "builtins":
        return AuthorError(f"{kind.hook} must return classes, not {offered!r}", "Name the class.")
    return AuthorError(
        f"{kind.hook} must return classes, not an instance of {cls.__name__}",
        f"Write {cls.__name__}, not {cls.__name__}(...).",
    )


def _check_name(cls: type) -> str:
    name = getattr(cls, "name", None)
    if name is None:
        suggested = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower().strip("_")
        raise AuthorError(
            f"{cls.__name__} has no name", f'Write name = "{suggested}" in the class.', cls
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "letters, digits, '.', '_' and '-'"
        raise AuthorError(
            f"{cls.__name__}.name must be text of {allowed}, not {name!r}",
            "It is what is written on the command line, and begins with a letter or a digit.",
            cls,
        )
    return name


def _import_name(kind: PluginKind) -> str:
    """Return the name by which a plugin's author imports the interface."""
    import keeprate  # the package itself imports this module

    is_exported = kind.interface in keeprate.__all__
    return (
        f"keeprate.{kind.interface}" if is_exported else f"keeprate.{kind.module}.{kind.interface}"
    )


def _check_parameters(kind: PluginKind, cls: type) -> None:
    names = {parameter.name for parameter in parameters_of(cls)}
    reserved_names = sorted(names & RESERVED) if kind is KINDS["methods"] else []
    if reserved_names:
        raise AuthorError(
            f"{cls.__name__} has a parameter {reserved_names[0]}, a name keeprate.reduce "
            "keeps for itself",
            "Give it another name.",
            cls,
        )
    check_defaults(cls)


SUFFIXES = (".yaml", ".yml")
"""How the names of study files end."""


@dataclass(frozen=True)
class RegisteredStudy:
    """A study file that a plugin offers under its stem, and the plugin's origin and version."""

    name: str
    path: Path
    plugin: str
    origin: str
    version: str


def check_study(path: object) -> str:
    """Return the name of the study file at `path`. Raises KeeprateError if it is none."""
    if not isinstance(path, Path):
        raise KeeprateError(f"keeprate_studies must return paths, not {path!r}")
    if path.suffix not in SUFFIXES or not path.is_file():
        raise KeeprateError(f"keeprate_studies offers '{path}', which is no file {SUFFIXES[0]}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem):
        allowed = "letters, digits, '.', '_' and '-'"
        raise KeeprateError(f"the name of a study must be of {allowed}, not '{path.stem}'")
    return path.stem


def checked_method_class(cls: type[Method]) -> type[Method]:
    """Return a class of method; KeeprateError, with the remedy, if no plugin could offer it."""
    try:
        check_class(KINDS["methods"], cls)
    except AuthorError as error:
        said = str(error).removesuffix(".")
        raise KeeprateError(f"{said}. {error.remedy}".rstrip()) from error
    return cls
