"""What a plugin must look like: its hooks, what they return, the API it states to be made for."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from .. import __version__, hookspecs
from ..errors import AuthorError

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(f"{hookspecs.PROJECT}_"))
"""The names of the hooks."""

STATED = "keeprate_api"
"""The attribute in which a plugin may state the API version it is made for."""

_MARK = f"{hookspecs.PROJECT}_impl"
_PREFIX = f"{hookspecs.PROJECT}_"


def check_api(stated: object) -> None:
    """Raise AuthorError if a plugin made for the API version `stated` cannot work here.

    None, where nothing is stated, is accepted.
    """
    newest, oldest = hookspecs.API_VERSION, hookspecs.OLDEST_API_VERSION
    if stated is None:
        return
    if isinstance(stated, bool) or not isinstance(stated, int):
        raise AuthorError(
            f"{STATED} is {stated!r}, not a whole number", f"Write {STATED} = {newest}."
        )
    here = f"keeprate {__version__} has API version {newest}"
    if stated > newest:
        raise AuthorError(
            f"it is made for API version {stated}, but {here}",
            "Update keeprate, or use an older version of the plugin.",
        )
    if stated < oldest:
        raise AuthorError(
            f"it is made for API version {stated}, but {here} and supports none before {oldest}",
            "Update the plugin: docs/plugins.md says what changed.",
        )


def stated_api(source: str) -> object:
    """Return what a plugin file's text gives as its API version, None if it gives none.

    It is read before the file runs, so that one made for a newer keeprate is refused for that and
    not for a name that it could not import.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return None
    for node in body:
        if isinstance(node, ast.Assign) and STATED in map(ast.unparse, node.targets):
            return node.value.value if isinstance(node.value, ast.Constant) else None
    return None


def check_hooks(plugin: object) -> None:
    """Raise AuthorError for what was meant as a hook and is none, or if a plugin has none at all.

    That is: an unknown name, arguments that hooks do not have, a function without its mark.
    """
    functions = dict(_members(plugin))
    for name, value in functions.items():
        _check_mark(plugin, name, value)
    if not any(_is_marked(value) for value in functions.values()):
        raise AuthorError(
            "it offers nothing: no function is marked @keeprate.hookimpl",
            f"The hooks are {', '.join(HOOKS)}.",
        )


def _members(plugin: object) -> Iterator[tuple[str, Any]]:
    names = vars(plugin) if isinstance(plugin, ModuleType) else dir(plugin)
    for name in list(names):
        value = getattr(plugin, name, None)
        if name.startswith(_PREFIX) or _is_marked(value):
            yield name, value


def _is_marked(value: object) -> bool:
    return inspect.isroutine(value) and isinstance(getattr(value, _MARK, None), dict)


def _check_mark(plugin: object, name: str, value: Any) -> None:
    if _is_marked(value):
        _check_name(getattr(value, _MARK).get("specname") or name, value)
        _check_arguments(name, value)
    elif inspect.isfunction(value):
        _refuse_unmarked(plugin, name, value)
    elif name in HOOKS and not isinstance(value, ModuleType):
        kind = "class" if isinstance(value, type) else type(value).__name__
        raise AuthorError(
            f"{name} is a {kind}, not a function",
            f"Write def {name}() with @keeprate.hookimpl above it, and return that.",
            value if isinstance(value, type) else None,
        )


def _check_name(name: str, function: object) -> None:
    if name not in HOOKS:
        raise AuthorError(f"unknown hook '{name}'", _nearest(name), function)


def _check_arguments(name: str, function: Callable[..., object]) -> None:
    """Refuse arguments without a default: hooks are called with none."""
    named = [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if named:
        raise AuthorError(
            f"{name} has the argument '{named[0]}', and hooks are called without any",
            f"Write def {name}().",
            function,
        )


def _refuse_unmarked(plugin: object, name: str, function: Any) -> None:
    """Refuse a function of the plugin's own that looks like a hook and lacks the mark."""
    if function.__module__ != getattr(plugin, "__name__", None):
        return
    if name in HOOKS:
        raise AuthorError(
            f"{name} is not marked as a hook", "Write @keeprate.hookimpl above it.", function
        )
    if _close(name):
        raise AuthorError(
            f"unknown hook '{name}'",
            f"{_nearest(name)} Mark it with @keeprate.hookimpl.",
            function,
        )


def _close(name: str) -> list[str]:
    ends = {hook.removeprefix(_PREFIX): hook for hook in HOOKS}
    found = difflib.get_close_matches(name.removeprefix(_PREFIX), ends, n=1, cutoff=0.7)
    return [ends[each] for each in found]


def _nearest(name: str) -> str:
    close = _close(name)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(HOOKS)}."


def listed(hook: str, function: object, answer: object) -> list[Any]:
    """Return as a list what a plugin's `function` for `hook` answered; AuthorError for no list."""
    things = "paths" if hook == "keeprate_studies" else "classes"
    if isinstance(answer, type):
        name = answer.__name__
        raise AuthorError(
            f"{hook} returned the class {name}, not a list of {things}",
            f"Write return [{name}].",
            function,
        )
    if answer is None or isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
        lacks = " Does it lack a return?" if answer is None else ""
        raise AuthorError(
            f"{hook} returned {_shown(answer)}, not a list of {things}",
            f"Return a list, also of one.{lacks}",
            function,
        )
    return list(answer)


def _shown(answer: object) -> str:
    if answer is None or isinstance(answer, str | bytes | int | float):
        return repr(answer)
    return f"one {type(answer).__name__}"
