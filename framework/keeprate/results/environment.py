"""Describe what a run ran on: versions, device, commit."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from .records import Environment

VERSIONED = ("keeprate", "torch", "torchvision", "timm", "lightning", "torchmetrics")
OPTIONAL = ("transformers", "tokenizers")
"""Packages whose version matters to the runs that use them."""


def environment(
    started: str, device: str, batch_size: int, workers: int, notes: tuple[str, ...] = ()
) -> Environment:
    """Return what a run ran on: versions, device, commit.

    `started` is an ISO 8601 time, `device` the name of the device for people.
    """
    return Environment(
        versions={"python": platform.python_version(), **versions()},
        device=device,
        git_revision=git_revision(Path.cwd()),
        started=started,
        batch_size=batch_size,
        workers=workers,
        notes=notes,
    )


def versions() -> dict[str, str]:
    """Return the version of every package that matters to a run, by its name."""
    # a run that has not imported an optional package cannot depend on its version
    packages = [*VERSIONED, *(name for name in OPTIONAL if name in sys.modules)]
    return {name: _version(name) for name in packages}


@cache
def _version(package: str) -> str:
    # its whole description is read for it, and what is imported stays what it is
    return version(package)


def git_revision(folder: Path) -> str | None:
    """Return the commit checked out in `folder`, None outside a repository or without git."""
    try:
        process = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()
