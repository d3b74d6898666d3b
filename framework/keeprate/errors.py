"""The one kind of error a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from unicodedata import category

_DIRECTIONS: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class KeeprateError(Exception):
    """A mistake the user can mend: printed as one line, exit status 2, no traceback."""


class AuthorError(KeeprateError):
    """A mistake in a plugin's code: the message, and separately the `remedy`.

    `written` is the class or function at fault, or None for the whole plugin; file and line are
    found from it. `str()` gives the message without the remedy.
    """

    def __init__(self, said: str, remedy: str = "", written: object = None) -> None:
        super().__init__(said)
        self.remedy, self.written = remedy, written


class SampleError(KeeprateError):
    """A sample turned out to be unreadable in the middle of a pass: the runs of the pass fail."""


def escaped(text: str) -> str:
    r"""Return a name from the system as text that can be written, as `caf\xe9` if not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable(text: str, keep: str = "") -> str:
    r"""Return text without characters that steer a terminal or a program: escaped, as `\x1b`.

    Those in `keep` stay, as line ends of a text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter in keep or not _steers(letter)
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _steers(letter: str) -> bool:
    # controls, half characters, line ends, and what turns the direction of writing round
    return category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in _DIRECTIONS


def refuse_unwritable(names: Iterable[object]) -> None:
    """Raise KeeprateError for a text or path that is not UTF-8, which results could not name.

    What is neither a text nor a path is not looked at.
    """
    for name in names:
        if isinstance(name, str | Path) and escaped(str(name)) != str(name):
            raise KeeprateError(
                f"'{escaped(str(name))}' is not UTF-8 text: rename the file or folder, or give a "
                "link to it that has another name."
            )


def unknown_name(kind: str, name: str, known: Iterable[str], remedy: str = "") -> KeeprateError:
    """Return the error for an unknown `name` of a `kind`, with the nearest known name or all names.

    "No method 'tom'. Did you mean 'tome'?" or "No method 'xyz'. Known: a, b, c.", then `remedy`.
    """
    return KeeprateError(f"No {kind} '{name}'. {suggestion(name, known)} {remedy}".rstrip())


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'tome'?" with the known name nearest to `name`, or list all names."""
    # compared in lower case, so that "ToMe" finds "tome"
    spellings = {known_name.lower(): known_name for known_name in sorted(known)}
    matches = difflib.get_close_matches(name.lower(), spellings, n=1)
    if matches:
        return f"Did you mean '{spellings[matches[0]]}'?"
    return f"Known: {', '.join(spellings.values()) or 'none'}."
