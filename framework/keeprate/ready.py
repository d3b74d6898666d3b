"""Ready studies: the study files that plugins offer, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import KeeprateError

SUFFIXES = (".yaml", ".yml")
"""How the names of study files end."""


@dataclass(frozen=True)
class ReadyStudy:
    """A study file offered under its stem: by which plugin, from where, which version."""

    name: str
    path: Path
    plugin: str
    origin: str
    version: str


def check_study(path: object) -> str:
    """Return the name of the study file at `path`; KeeprateError, saying why, if it is none."""
    if not isinstance(path, Path):
        raise KeeprateError(f"keeprate_studies must return paths, not {path!r}")
    if path.suffix not in SUFFIXES or not path.is_file():
        raise KeeprateError(f"keeprate_studies offers '{path}', which is no file {SUFFIXES[0]}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem):
        allowed = "letters, digits, '.', '_' and '-'"
        raise KeeprateError(f"the name of a study must be of {allowed}, not '{path.stem}'")
    return path.stem
