"""Which image files cannot be used: each is decoded once, and asked for again when it changes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from .._file_answers import FileQuestion, ask
from .codec_warnings import codec_warnings
from .images import UNREADABLE, read_pixels, reason
from .software import decoding_software

_TOGETHER: Final = 64


def image_problems(paths: Sequence[Path]) -> list[str | None]:
    """Return for every image file what makes it unusable, None where nothing does.

    Each is decoded, many at a time, and remembered while it stays as it is, so that later calls are
    quick. What a format has no sign of is not found: changed pixels in a BMP file, or in a JPEG
    damage after which the data happen to fit again.
    """
    version = "\n".join(f"{name} {each}" for name, each in decoding_software().items())
    question = FileQuestion("problem", version, _problems, lasting=lambda problem: not problem)
    return [problem or None for problem in ask(question, paths)]


def _problems(paths: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor() as pool:
        groups = (paths[start : start + _TOGETHER] for start in range(0, len(paths), _TOGETHER))
        return [problem for group in groups for problem in _of_group(group, pool)]


def _of_group(paths: Sequence[Path], pool: ThreadPoolExecutor) -> list[str]:
    with codec_warnings() as heard:
        found = list(pool.map(_problem, paths))
    # rarely: libraries do not say which file they speak of, so they are read again one by one
    return [_alone(path) for path in paths] if heard.damage else found


def _alone(path: Path) -> str:
    with codec_warnings() as heard:
        problem = _problem(path)
    return problem or heard.damage


def _problem(path: Path) -> str:
    try:
        read_pixels(path)
    except UNREADABLE as error:
        return reason(path, error)
    return ""
