"""The code a class is written in, as a hash: changed code makes another run."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def source_sha256(cls: type) -> str:
    """Return the SHA-256 (hex) of the source files `cls` may depend on.

    For a class of a package all its Python files, in the folder of the module and below; for a
    class of a single file that file. A class typed into a session has no file: its name counts.
    """
    digest = hashlib.sha256(cls.__qualname__.encode())
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if file is None:
        return digest.hexdigest()
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if getattr(module, "__package__", "") else [path]
    for each in files:
        digest.update(each.name.encode() + b"\0" + each.read_bytes())
    return digest.hexdigest()
