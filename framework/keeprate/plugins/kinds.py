"""What plugins offer: the kinds of thing, and what makes an offered class acceptable."""

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
    {"model", "method", "schedule", "budget", "image_size", "empty_last_mlp", "trace"}
)
"""Arguments of `keeprate.reduce`, beside which a method's parameters stand: no names for those."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class PluginKind:
    """One kind of thing plugins offer: its word, its hook, and the class it is derived from."""

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
    "reports": PluginKind("report", "keeprate_reports", "report", "Report"),
    "engines": PluginKind("engine", "keeprate_engines", "engine", "Engine", has_parameters=True),
}


@dataclass(frozen=True)
class Registered(Generic[T_co]):
    """A class offered under a name: by which plugin, from where, which version ("" if unknown)."""

    name: str
    cls: type[T_co]
    plugin: str
    origin: str
    version: str

    @property
    def description(self) -> str:
        """The first sentence of the class's docstring, "" if it has none."""
        written = inspect.cleandoc(self.cls.__doc__ or "")
        if written.startswith(f"{self.cls.__name__}("):  # what dataclasses put in its place
            return ""
        paragraph = " ".join(written.split("\n\n")[0].split())
        sentence = re.match(r".+?[.!?](?=\s+[A-Z]|$)", paragraph)
        return sentence[0] if sentence else paragraph


def check_class(kind: PluginKind, cls: object) -> str:
    """Return the name of `cls`; raise AuthorError, saying why, if it is no `kind` to offer."""
    if not isinstance(cls, type):
        raise _no_class(kind, cls)
    name = _checked_name(cls)
    interface = getattr(import_module(f"keeprate.{kind.module}"), kind.interface)
    if not issubclass(cls, interface):
        raise AuthorError(
            f"{cls.__name__} is not a subclass of {_public(kind)}",
            f"Write class {cls.__name__}({kind.interface}), from {_public(kind)}.",
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


def _no_class(kind: PluginKind, offered: object) -> AuthorError:
    of = type(offered)
    if of.__module__ == "builtins":
        return AuthorError(f"{kind.hook} must return classes, not {offered!r}", "Name the class.")
    return AuthorError(
        f"{kind.hook} must return classes, not an instance of {of.__name__}",
        f"Write {of.__name__}, not {of.__name__}(...).",
    )


def _checked_name(cls: type) -> str:
    name = getattr(cls, "name", None)
    if name is None:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower().strip("_")
        raise AuthorError(
            f"{cls.__name__} has no name", f'Write name = "{words}" in the class.', cls
        )
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        allowed = "letters, digits, '.', '_' and '-'"
        raise AuthorError(
            f"{cls.__name__}.name must be text of {allowed}, not {name!r}",
            "It is what is written on the command line, and begins with a letter or a digit.",
            cls,
        )
    return name


def _public(kind: PluginKind) -> str:
    """Return the name a plugin's author imports the interface by."""
    import keeprate

    short = kind.interface in keeprate.__all__
    return f"keeprate.{kind.interface}" if short else f"keeprate.{kind.module}.{kind.interface}"


def _check_parameters(kind: PluginKind, cls: type) -> None:
    names = {each.name for each in parameters_of(cls)}
    taken = sorted(names & RESERVED) if kind is KINDS["methods"] else []
    if taken:
        raise AuthorError(
            f"{cls.__name__} has a parameter {taken[0]}, a name keeprate.reduce keeps for itself",
            "Give it another name.",
            cls,
        )
    check_defaults(cls)


SUFFIXES = (".yaml", ".yml")
"""How the names of study files end."""


@dataclass(frozen=True)
class RegisteredStudy:
    """A study file offered under its stem: by which plugin, from where, which version."""

    name: str
    path: Path
    plugin: str
    origin: str
    version: str


def check_study(path: object) -> str:
    """Return the name of the study file at `path`; KeeprateError, saying why, if it is none."""
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
