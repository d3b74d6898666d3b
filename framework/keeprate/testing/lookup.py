"""From what a user names to what is checked: a file's or a name's methods, data sets, reports."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import KeeprateError, unknown_name
from ..method import Method
from ..plugins.kinds import KINDS
from ..plugins.parameters import build, parse_spec, values_of
from ..plugins.registry import Registry, activate, load, registry
from .bench import Subject

_CHECKED = ("methods", "datasets", "reports")
"""The kinds that have promises, whose names are told to who asks for an unknown one."""

Named = str | type[Method] | Method
"""What a method is named by: its name with parameters, a plugin file that offers it, or itself."""


def subject_of(method: Named, parameters: Mapping[str, object] | None = None) -> Subject:
    """Return the one method that is named: "NAME", "NAME:parameter=value", "FILE.py", a class, ...

    Raises KeeprateError for an unknown name, and for a file that offers several methods or none.
    """
    values = dict(parameters or {})
    if isinstance(method, Method):
        return Subject(_label(type(method), values_of(method)), type(method), _copies(method))
    if isinstance(method, str):
        offered, given = named(method)
        classes = list(offered.get("methods", ()))
        if len(classes) != 1:
            raise KeeprateError(f"'{method}' offers {len(classes)} methods: name one of them.")
        return method_subject(classes[0], {**given, **values})
    if isinstance(method, type) and issubclass(method, Method):
        return method_subject(method, values)
    raise KeeprateError(f"A method is a name, a class or an instance of one, not {method!r}.")


def method_subject(cls: type[Method], values: Mapping[str, object]) -> Subject:
    """Return a method of class `cls` with the values of some of its parameters.

    Raises KeeprateError for values that do not fit.
    """
    if values:
        build("method", cls, values)
    return Subject(_label(cls, values), cls, lambda: build("method", cls, values))


def named(text: str) -> tuple[dict[str, list[type[Any]]], dict[str, str]]:
    """Return by kind the classes that "FILE.py" or "NAME" stands for, and the parameters given.

    Kinds are those of `keeprate.plugins.kinds.KINDS`. A file is loaded as a plugin, beside all that
    is loaded already. Raises KeeprateError for what is neither.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # about plugins that fail, which is no matter of these
        registry()
    path, _, rest = text.partition(".py")
    if text.endswith(".py") or ".py:" in text:
        found = _offered_by(Path(f"{path}.py"))
        return found, parse_spec(f"it{rest}")[1]
    name, given = parse_spec(text)
    found = {
        kind: [offers[name].cls] for kind in KINDS if name in (offers := getattr(registry(), kind))
    }
    if not found:
        known = [each for kind in _CHECKED for each in getattr(registry(), kind)]
        raise unknown_name("method, data set or report", name, known, "Or name a file: FILE.py.")
    return found, given


def _offered_by(path: Path) -> dict[str, list[type[Any]]]:
    """Load a plugin file, beside what is loaded already, and return what it offers by kind."""
    if not path.is_file():
        raise KeeprateError(f"No file '{path}'. Give the path of a plugin FILE.py, or a name.")
    origin = str(path.resolve())
    loaded = registry()
    if not any(plugin.origin == origin for plugin in loaded.plugins):
        others = [Path(each.origin) for each in loaded.plugins if each.origin.endswith(".py")]
        loaded = load([*others, path], strict=True)
        activate(loaded)
    found = {kind: _from(loaded, kind, origin) for kind in KINDS}
    if not any(found.values()):
        broken = [each for each in loaded.broken if each.origin == origin]
        why = f" {broken[0].cause}" if broken else ""
        raise KeeprateError(f"'{path}' offers nothing that can be checked.{why}")
    return {kind: classes for kind, classes in found.items() if classes}


def _from(loaded: Registry, kind: str, origin: str) -> list[type[Any]]:
    return [offer.cls for offer in getattr(loaded, kind).values() if offer.origin == origin]


def _copies(method: Method) -> Any:
    return lambda: copy.deepcopy(method)


def _label(cls: type, values: Mapping[str, object]) -> str:
    name = str(getattr(cls, "name", cls.__name__))
    shown = ",".join(f"{key}={value}" if key else str(value) for key, value in values.items())
    return f"{name}:{shown}" if shown else name
