"""The one kind of error a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KeeprateError(Exception):
    """A mistake the user can mend: printed as one line, exit status 2, no traceback."""


class AuthorError(KeeprateError):
    """What a plugin's author wrote does not fit keeprate: what is wrong and, apart, how to mend it.

    `written` is the class or function at fault, None where the whole plugin is; file and line are
    found from it. `str()` gives what is wrong alone.
    """

    def __init__(self, said: str, remedy: str = "", written: object = None) -> None:
        super().__init__(said)
        self.remedy, self.written = remedy, written


class SampleError(KeeprateError):
    """A sample that cannot be read, found out in the middle of a pass: its runs fail."""


def unknown_name(kind: str, name: str, known: Iterable[str], remedy: str = "") -> KeeprateError:
    """Return the error for a `name` that is no `kind`: the nearest known name, or all of them.

    "No method 'tom'. Did you mean 'tome'?" or "No method 'xyz'. Known: a, b, c.", then `remedy`.
    """
    return KeeprateError(f"No {kind} '{name}'. {suggestion(name, known)} {remedy}".rstrip())


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'tome'?" for the known name nearest to `name`, or else list them all."""
    spelled = {each.lower(): each for each in sorted(known)}
    close = difflib.get_close_matches(name.lower(), spelled, n=1)
    if close:
        return f"Did you mean '{spelled[close[0]]}'?"
    return f"Known: {', '.join(spelled.values()) or 'none'}."
