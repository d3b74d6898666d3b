"""Several new files at once: all of them, or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .results.atomic_files import explained
from .scaffold import Scaffold, check_free


def write_new(made: Scaffold) -> tuple[Path, ...]:
    """Write a new plugin into its folder, which is made if need be, and return what is new there.

    Everything is on the disk under another name first and then moved; what fails in between is
    undone, and what is there already is never replaced. Raises KeeprateError, in one line, for a
    folder that cannot be written to or is full, and for what is there already.
    """
    with explained(made.folder):
        made.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(".tmp", ".keeprate-new-", made.folder) as waiting:
            _write(Path(waiting), made.texts)
            check_free(made.top)
            _move([(Path(waiting) / path.name, path) for path in made.top])
    return made.top


def _write(folder: Path, texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())


def _move(pairs: list[tuple[Path, Path]]) -> None:
    moved: list[Path] = []
    try:
        for source, target in pairs:
            os.rename(source, target)
            moved.append(target)
    except BaseException:
        for target in moved:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        raise
