"""Quotes in parameter texts: what stands in them is taken as it is, commas and blanks included."""

from __future__ import annotations

import re

_IN_QUOTES = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
# only around a whole value or item: an apostrophe inside one, as in I'-S, is a plain character
_QUOTED_ITEM = re.compile(rf"(?<![^=,(\[])(\s*)({_IN_QUOTES})(?=\s*(?:[,)\]]|$))", re.DOTALL)


def masked(text: str) -> str:
    """Return a text of the same length in which characters in quotes are "_", to find commas."""
    return _QUOTED_ITEM.sub(lambda match: match[1] + "_" * len(match[2]), text)


def split_items(text: str) -> list[str]:
    """Return what stands between the commas of a text, without quotes and blanks around it."""
    hidden, items, begin = masked(text), [], 0
    for end in [*(match.start() for match in re.finditer(",", hidden)), len(text)]:
        items.append(unquoted(text[begin:end].strip()))
        begin = end + 1
    return items


def unquoted(text: str) -> str:
    r"""Return a text that is in quotes as a whole without them, any other as it is.

    A backslash before a quote or a backslash is left out.
    """
    if not re.fullmatch(_IN_QUOTES, text, re.DOTALL):
        return text
    return re.sub(r"""\\(["'\\])""", r"\1", text[1:-1])


def quoted(text: str) -> str:
    """Return a text in double quotes, which `unquoted` reads."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
