"""Python packages written by tests, and changed by them."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, code in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n# edited\n")


CLASS = "from keeprate import Method\nclass Mine(Method):\n    name = 'mine'\n"
