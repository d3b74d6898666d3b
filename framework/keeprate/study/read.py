"""Read a study file, or a ready study by name, into the specification of a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..data.text_files import read_text
from ..errors import KeeprateError
from ..plugins.kinds import SUFFIXES
from ..plugins.registry import registry
from .expansion import Study, expand
from .study_file import read_study_text


def read_study(
    study: str, overrides: Sequence[str] = (), *, ask_hub: bool = False, force: bool = False
) -> Study:
    """Read the file, or the ready study, that `study` names, and check all of it.

    `overrides` are KEY=VALUE texts, with dotted keys and YAML values. `ask_hub` and `force` are as
    for `expand`. Raises StudyProblems that lists all problems, each with line, key and remedy, and
    KeeprateError for a study that does not exist.
    """
    path, display_name = _find_study(study)
    ledger = read_study_text(display_name, read_text(path), overrides)
    return expand(ledger, path.stem, ask_hub=ask_hub, force=force)


def _find_study(study: str) -> tuple[Path, str]:
    """Return the file of a study, and its name for messages."""
    path = Path(os.path.expanduser(study))
    # a name with a folder or an ending is a path: ready studies have neither
    if path.suffix in SUFFIXES or path.name != study:
        if not path.is_file():
            raise KeeprateError(
                f"No study file '{study}'. `keeprate list studies` shows ready ones."
            )
        return path, study
    ready = registry().study(study)
    return ready.path, ready.path.name
