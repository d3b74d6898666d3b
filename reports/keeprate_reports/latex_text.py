"""Turn any text into LaTeX that shows it as it is, break it, and estimate its width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
}
_LIGATURE: Final = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)")
"""The positions at which T1 fonts would draw two characters as one."""

CELL_EM: Final = 6.9
"""Wider words of a cell may be broken, after punctuation or else into pieces; in em."""
_PROSE_EM: Final = 18.0
_PIECE_EM: Final = 3.0

_EM: Final = {
    letter: width
    for letters, width in (
        ("ijl.,:;'`![]|", 0.31),
        ("I()-frst", 0.4),
        ("0123456789$ ", 0.5),
        ('/?*"acegkvxyz', 0.53),
        ("mwMW%@&#+=<>~\\^_{}æœÆŒ", 1.03),
    )
    for letter in letters
}
"""Upper bounds of the widths of letters, in em; others are 0.6 if small and 0.79 if capital."""


def escape(text: str) -> str:
    """Escape `text` so that LaTeX sets it as it is, on one line; unknown letters become "?"."""
    escaped = re.sub(r"""[\\{}&%$#_~^<>|"`\[\]]""", lambda match: _SPECIAL[match[0]], _plain(text))
    return _LIGATURE.sub("{}", escaped)


def breakable(text: str, most_em: float = _PROSE_EM) -> str:
    """Escape `text`, and allow line breaks within words that are wider than `most_em`."""
    return " ".join(
        r"\allowbreak{}".join(map(escape, _pieces(word, most_em)))
        for word in _plain(text).split(" ")
    )


def code(text: str) -> str:
    """Set `text` in typewriter letters, to be typed as it stands, and allow line breaks."""
    # LaTeX sets ' as a typographic quote, which a shell does not take
    return rf"\texttt{{{breakable(text, CELL_EM)}}}".replace("'", r"\textquotesingle{}")


@lru_cache(maxsize=100_000)
def width_em(text: str) -> float:
    """Return an upper bound of the width of `text` in upright Computer Modern, in em."""
    return sum(_EM.get(letter, 0.6 if letter.islower() else 0.79) for letter in _plain(text))


def _plain(text: str) -> str:
    # pdfTeX has letters for Latin-1 and stops at others
    flat = " ".join(text.split()).encode("latin-1", "replace").decode("latin-1")
    return "".join(letter if letter.isprintable() else "?" for letter in flat)


def _pieces(word: str, most_em: float) -> Iterator[str]:
    """Yield a long word cut after its punctuation, or into pieces where there is none."""
    if width_em(word) <= most_em:
        yield word
        return
    for part in re.findall(r"[^-/_=,.:;@]*[-/_=,.:;@]+|[^-/_=,.:;@]+", word):
        yield from _cut(part, most_em)


def _cut(part: str, most_em: float) -> Iterator[str]:
    if width_em(part) <= most_em:
        yield part
        return
    piece = ""
    for letter in part:
        if piece and width_em(piece + letter) > _PIECE_EM:
            yield piece
            piece = ""
        piece += letter
    yield piece
