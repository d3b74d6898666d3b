"""What the doctor says of the machine: versions, the device, and whether results can be kept."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .authors import said_of
from .doctor import Finding, problem


@dataclass(frozen=True)
class Machine:
    """Versions by name, the device for people, and what is wrong with them."""

    versions: dict[str, str]
    device: str
    findings: tuple[Finding, ...] = ()


def machine() -> Machine:
    """Return what a run would run on; libraries that cannot be imported are a finding."""
    python = {"python": platform.python_version()}
    try:
        from .results.environment import device_name, device_of, versions

        return Machine({**python, **versions()}, device_name(device_of("auto")))
    except Exception as error:
        remedy = "Install keeprate anew: pip install --force-reinstall keeprate."
        return Machine(python, "unknown", (problem("libraries", said_of(error)[0], remedy),))


def store(folder: Path) -> Iterator[Finding]:
    """Yield a problem if results could not be written into `folder`, which need not be there."""
    remedy = "Name another with --runs FOLDER, or change its permissions."
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        yield problem(f"results in {folder}", f"{there} is not a folder", remedy)
        return
    try:
        if there == folder:
            with tempfile.TemporaryFile(dir=folder):
                return
    except OSError as error:
        yield problem(f"results in {folder}", f"it cannot be written: {error.strerror}", remedy)
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield problem(f"results in {folder}", f"it cannot be made in {there}", remedy)
