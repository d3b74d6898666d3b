"""Find the methods, data sets, metrics and reports that a user names, by file or by name."""

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

_CHECKED = ("methods", "datasets", "metrics", "reports")
"""The kinds that have promises; an error about an unknown name lists theirs."""

Named = str | type[Method] | Method
"""How a method is named: its name with parameters, a plugin file, its class, or an instance."""


def subject_of(method: Named, parameters: Mapping[str, object] | None = None) -> Subject:
    """Return the one method that `method` names: "NAME:parameter=value", "FILE.py", a class, ...

    Raises KeeprateError for an unknown name, and for a file that offers several methods or none.
    """
    values = dict(parameters or {})
    if isinstance(method, Method):
        return Subject(_label(type(method), values_of(method)), type(method), _copier(method))
    if isinstance(method, str):
        classes_by_kind, file_values = named(method)
        classes = list(classes_by_kind.get("methods", ()))
        if len(classes) != 1:
            raise KeeprateError(f"'{method}' offers {len(classes)} methods: name one of them.")
        return method_subject(classes[0], {**file_values, **values})
    if isinstance(method, type) and issubclass(method, Method):
        return method_subject(method, values)
    raise KeeprateError(f"A method is a name, a class or an instance of one, not {method!r}.")


def method_subject(cls: type[Method], values: Mapping[str, object]) -> Subject:
    """Return a method of class `cls` with the values of some of its parameters.

    Raises KeeprateError for values that do not fit.
    """
    # values that do not fit are the user's mistake: raised here, before any check runs
    if values:
        build("method", cls, values)
    return Subject(_label(cls, values), cls, lambda: build("method", cls, values))


def named(text: str) -> tuple[dict[str, list[type[Any]]], dict[str, str]]:
    """Return by kind the classes that "FILE.py" or "NAME" stands for, and the given parameters.

    Kinds are those of `keeprate.plugins.kinds.KINDS`. A file is loaded as a plugin, in addition to
    the loaded plugins. Raises KeeprateError for a text that is neither a file nor a name.
    """
    with warnings.catch_warnings():
        # other plugins that fail to load warn, and must not fail the check of this one
        warnings.simplefilter("default")
        registry()
    path, _, rest = text.partition(".py")
    if text.endswith(".py") or ".py:" in text:
        classes_by_kind = _load_file(Path(f"{path}.py"))
        # a stand-in for the name: only the parameters after ".py" are wanted
        return classes_by_kind, parse_spec(f"it{rest}")[1]
    name, values = parse_spec(text)
    classes_by_kind = {
        kind: [offers[name].cls] for kind in KINDS if name in (offers := getattr(registry(), kind))
    }
    if not classes_by_kind:
        names = [known for kind in _CHECKED for known in getattr(registry(), kind)]
        raise unknown_name(
            "method, data set, metric or report", name, names, "Or name a file: FILE.py."
        )
    return classes_by_kind, values


def _load_file(path: Path) -> dict[str, list[type[Any]]]:
    """Load a plugin file in addition to the loaded plugins, and return its classes by kind."""
    if not path.is_file():
        raise KeeprateError(f"No file '{path}'. Give the path of a plugin FILE.py, or a name.")
    # plugins know their files by absolute path
    origin = str(path.resolve())
    loaded = registry()
    if not any(plugin.origin == origin for plugin in loaded.plugins):
        other_files = [
            Path(entry.origin) for entry in loaded.plugins if entry.origin.endswith(".py")
        ]
        loaded = load([*other_files, path], strict=True)
        activate(loaded)
    classes_by_kind = {kind: _classes_of_file(loaded, kind, origin) for kind in KINDS}
    if not any(classes_by_kind.values()):
        broken = [entry for entry in loaded.broken if entry.origin == origin]
        why = f" {broken[0].cause}" if broken else ""
        raise KeeprateError(f"'{path}' offers nothing that can be checked.{why}")
    return {kind: classes for kind, classes in classes_by_kind.items() if classes}


def _classes_of_file(loaded: Registry, kind: str, origin: str) -> list[type[Any]]:
    return [offer.cls for offer in getattr(loaded, kind).values() if offer.origin == origin]


def _copier(method: Method) -> Any:
    # deep copies, so that no check sees what another one left in the instance
    return lambda: copy.deepcopy(method)


def _label(cls: type, values: Mapping[str, object]) -> str:
    name = str(getattr(cls, "name", cls.__name__))
    parameters = ",".join(f"{key}={value}" if key else str(value) for key, value in values.items())
    return f"{name}:{parameters}" if parameters else name
