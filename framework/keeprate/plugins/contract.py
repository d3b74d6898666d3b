"""Check a plugin: its hooks, what they return, and the API version that it states."""

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

    None, for a plugin that states no version, is accepted.
    """
    newest, oldest = hookspecs.API_VERSION, hookspecs.OLDEST_API_VERSION
    if stated is None:
        return
    if isinstance(stated, bool) or not isinstance(stated, int):
        raise AuthorError(
            f"{STATED} is {stated!r}, not a whole number", f"Write {STATED} = {newest}."
        )
    current = f"keeprate {__version__} has API version {newest}"
    if stated > newest:
        raise AuthorError(
            f"it is made for API version {stated}, but {current}",
            "Update keeprate, or use an older version of the plugin.",
        )
    if stated < oldest:
        raise AuthorError(
            f"it is made for API version {stated}, but {current} and supports none before {oldest}",
            "Update the plugin: docs/plugins.md says what changed.",
        )


def stated_api(source: str) -> object:
    """Return the API version that the text of a plugin file states, None if it states none.

    It is read before the file runs. So a file made for a newer keeprate is refused for its version,
    and not for a name that it could not import.
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
    """Raise AuthorError for a hook that would not be called, or if a plugin has no hook at all.

    Such a hook has an unknown name, arguments that hooks do not have, or lacks the mark.
    """
    functions = dict(_hook_candidates(plugin))
    for name, value in functions.items():
        _check_mark(plugin, name, value)
    if not any(_is_marked(value) for value in functions.values()):
        raise AuthorError(
            "it offers nothing: no function is marked @keeprate.hookimpl",
            f"The hooks are {', '.join(HOOKS)}.",
        )


def _hook_candidates(plugin: object) -> Iterator[tuple[str, Any]]:
    names = vars(plugin) if isinstance(plugin, ModuleType) else dir(plugin)
    for name in list(names):  # a copy: getattr may import, which adds names to a module
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
        raise AuthorError(f"unknown hook '{name}'", _suggest_hook(name), function)


def _check_arguments(name: str, function: Callable[..., object]) -> None:
    """Refuse arguments without a default, because hooks are called without arguments."""
    required_names = [
        argument.name
        for argument in inspect.signature(function).parameters.values()
        if argument.default is argument.empty
        and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
    ]
    if required_names:
        raise AuthorError(
            f"{name} has the argument '{required_names[0]}', and hooks are called without any",
            f"Write def {name}().",
            function,
        )


def _refuse_unmarked(plugin: object, name: str, function: Any) -> None:
    """Refuse a function of the plugin's own that looks like a hook and lacks the mark."""
    # a function imported from elsewhere, such as a hook specification, is no mistake
    if function.__module__ != getattr(plugin, "__name__", None):
        return
    if name in HOOKS:
        raise AuthorError(
            f"{name} is not marked as a hook", "Write @keeprate.hookimpl above it.", function
        )
    if _similar_hooks(name):
        raise AuthorError(
            f"unknown hook '{name}'",
            f"{_suggest_hook(name)} Mark it with @keeprate.hookimpl.",
            function,
        )


def _similar_hooks(name: str) -> list[str]:
    # without the prefix that all hooks share: it would make any two names look alike
    hooks_by_suffix = {hook.removeprefix(_PREFIX): hook for hook in HOOKS}
    matches = difflib.get_close_matches(
        name.removeprefix(_PREFIX), hooks_by_suffix, n=1, cutoff=0.7
    )
    return [hooks_by_suffix[suffix] for suffix in matches]


def _suggest_hook(name: str) -> str:
    similar = _similar_hooks(name)
    return f"Did you mean '{similar[0]}'?" if similar else f"Known: {', '.join(HOOKS)}."


def listed(hook: str, function: object, answer: object) -> list[Any]:
    """Return as a list what a plugin's `function` answers to `hook`; AuthorError if it is none."""
    things = "paths" if hook == "keeprate_studies" else "classes"
    if isinstance(answer, type):
        name = answer.__name__
        raise AuthorError(
            f"{hook} returned the class {name}, not a list of {things}",
            f"Write return [{name}].",
            function,
        )
    # a text is iterable too, but its letters are no things to offer
    if answer is None or isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
        hint = " Does it lack a return?" if answer is None else ""
        raise AuthorError(
            f"{hook} returned {_describe_answer(answer)}, not a list of {things}",
            f"Return a list, also of one.{hint}",
            function,
        )
    return list(answer)


def _describe_answer(answer: object) -> str:
    if answer is None or isinstance(answer, str | bytes | int | float):
        return repr(answer)
    return f"one {type(answer).__name__}"
