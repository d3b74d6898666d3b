"""Shorten the paths in what reports show: a paper under blind review must not name its author."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Final, TypeVar

from ..results.records import RunInfo
from .mapped_texts import mapped_texts

_Content = TypeVar("_Content")
_START: Final = r"(?:file://|~|(?<!\w)[A-Za-z]:)?[/\\]"
_VALUE: Final = re.compile(rf"(?:^|[=:])({_START}(?![/\\])[^,]+)")
"""A path as the whole of a value, or as a value inside a text such as "imagenet:root=/a/b"."""
_IN_TEXT: Final = (
    rf"(?<=')(?<!\w'){_START}(?![/\\])[^'\n]*(?=')",
    rf'(?<="){_START}(?![/\\])[^"\n]*(?=")',
    # a single part may be no path, as in "top-1 /image"
    rf"(?<![\w./\\~]){_START}(?![/\\])[^\s'\",;:()\[\]/\\]+[/\\][^\s'\",;:()\[\]]*",
)
_QUOTE: Final = "'\"'\"'"
"""An apostrophe inside a command."""
_FILES: Final = ("picture", "input_picture")
"""Fields with files that reports read: they show what is in these, and not where they lie."""


def places_of(runs: Iterable[RunInfo]) -> tuple[str, ...]:
    """Return the absolute paths in the descriptions of runs: data, weights, parameters, plugins."""
    places = {place for run in runs for place in _places(run)}
    return tuple(sorted(places))


def without_places(content: _Content, places: Iterable[str] = ()) -> _Content:
    """Return the same dataclass with the last part alone of each absolute path in its texts.

    `places` are paths that may have blanks in them, beside those in the field `places`, which is
    empty in what is returned. Different paths with the same last part get a number: "best.pt" and
    "best.pt#2". The paths of pictures, which reports read, stay.
    """
    own: tuple[str, ...] = getattr(content, "places", ())
    known = [*places, *own]
    if own:
        content = replace(content, places=())  # type: ignore[type-var]  # a dataclass
    pattern, found = _pattern(known), set[str]()

    def collect(text: str) -> str:
        found.update(pattern.findall(text))
        return text

    mapped_texts(content, collect, _FILES)
    names = _names(found)
    shortened = cache(lambda text: pattern.sub(lambda match: names[match[0]], text))
    shown: _Content = mapped_texts(content, shortened, _FILES)
    return shown


def _places(run: RunInfo) -> Iterator[str]:
    data, sample = run.data, run.calibration
    yield from _texts((run.method_origin, run.backbone_origin, run.data_origin))
    yield from _texts((run.backbone.name, str(run.backbone.weights), data.variant))
    yield from _texts((run.parameters, data.values, sample.parameters if sample else None))


def _texts(value: object) -> Iterator[str]:
    """Yield the paths in a value, and in what is inside it."""
    if isinstance(value, str):
        yield from (path.rstrip("/\\") for path in _VALUE.findall(value))
    elif isinstance(value, Mapping):
        yield from _texts(tuple(value.values()))
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)


def _pattern(places: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted({place for place in places if place}, key=lambda place: -len(place))
    spellings = [text for place in longest_first for text in (place, place.replace("'", _QUOTE))]
    known = [rf"(?<![\w.~]){re.escape(text)}(?![\w-])" for text in dict.fromkeys(spellings)]
    return re.compile("|".join([*known, *_IN_TEXT]))


def _names(paths: Iterable[str]) -> dict[str, str]:
    """Return what is shown of each path."""
    by_tail: dict[str, list[str]] = defaultdict(list)
    for path in sorted({_plain(path) for path in paths}):
        by_tail[re.split(r"[/\\]", path)[-1]].append(path)
    numbered = {
        path: tail if position == 1 else f"{tail}#{position}"
        for tail, namesakes in by_tail.items()
        for position, path in enumerate(namesakes, 1)
    }
    return {path: numbered[_plain(path)] for path in paths}


def _plain(path: str) -> str:
    return path.replace(_QUOTE, "'").rstrip("/\\")
