"""Locate a plugin author's mistake in the author's own code, and describe it."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator
from types import TracebackType

from ..errors import AuthorError, KeeprateError, suggestion

_NOT_THERE = re.compile(r"cannot import name '(\w+)' from 'keeprate'")


def definition_place(thing: object) -> str:
    """Return "FILE:LINE" where a class or function is defined, "" where that is not known."""
    # the function under a decorator, not the decorator's wrapper
    thing = inspect.unwrap(thing) if callable(thing) else thing
    try:
        path = inspect.getsourcefile(thing)  # type: ignore[arg-type]
        lines, first = inspect.getsourcelines(thing)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
    # inspect's first line is that of a decorator: the line to show is the one with the name
    starts = (number for number, line in enumerate(lines) if _is_definition(line))
    return f"{path}:{first + next(starts, 0)}"


def raise_place(error: BaseException, package: str) -> str:
    """Return "FILE:LINE" of the last call in a top-level `package` that an error came through.

    It is "" if there is none. A syntax error itself says where it is.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    locations = [
        location for location, name in _traceback_locations(error.__traceback__) if name == package
    ]
    return locations[-1] if locations else ""


def raised_by(error: BaseException, package: str) -> bool:
    """Tell whether code of a top-level `package` itself raised the error."""
    names = [name for _, name in _traceback_locations(error.__traceback__)]
    return bool(names) and names[-1] == package


def package_of(thing: object) -> str:
    """Return the top-level package, or the module, that a class or function is written in."""
    return str(getattr(thing, "__module__", "")).partition(".")[0]


def describe_error(error: BaseException) -> tuple[str, str]:
    """Return an error's message as one line, and the remedy for it, "" if unknown."""
    message = " ".join(_message(error).split())
    if isinstance(error, AuthorError):
        return message, error.remedy
    if isinstance(error, KeeprateError):
        return message, ""
    return f"{type(error).__name__}: {message}".removesuffix(": "), _remedy(error, message)


def sentence(said: str, place: str = "", remedy: str = "") -> str:
    """Join what is wrong, where, and how to mend it: "Wrong (file.py:3). Do that."."""
    statement = f"{said.removesuffix('.')} ({place})" if place else said
    return f"{statement.removesuffix('.')}. {remedy}" if remedy else statement


def _traceback_locations(trace: TracebackType | None) -> Iterator[tuple[str, str]]:
    """Yield "FILE:LINE" and the top-level package of every call an error came through."""
    for frame, line in traceback.walk_tb(trace):
        name = str(frame.f_globals.get("__name__", ""))
        yield f"{frame.f_code.co_filename}:{line}", name.partition(".")[0]


def _is_definition(line: str) -> bool:
    return line.lstrip().startswith(("def ", "async def ", "class "))


def _message(error: BaseException) -> str:
    """Return an error's message; a syntax error's without its place, which `raise_place` gives."""
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _remedy(error: BaseException, message: str) -> str:
    if isinstance(error, SystemExit):
        return "A plugin must not end the process: raise keeprate.KeeprateError instead."
    if isinstance(error, ModuleNotFoundError):
        return "Install what provides it into the environment that keeprate runs in."
    missing = _NOT_THERE.match(message)
    if missing is not None:
        import keeprate  # only now: the package imports this module

        return suggestion(missing[1], keeprate.__all__)
    return ""
