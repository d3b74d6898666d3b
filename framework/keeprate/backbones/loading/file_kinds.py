"""Tell by its content what a file given as weights is, and what to do where it is no weights."""

from __future__ import annotations

import enum
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Final

from ...errors import KeeprateError
from ...request import PREFIX


class FileKind(enum.Enum):
    """The kinds of files that weights are read from."""

    SAFETENSORS = enum.auto()
    TORCH = enum.auto()
    NPZ = enum.auto()


_UNPACK: Final = "Unpack it and give the weights file in it."
_AGAIN: Final = "Copy or download it again."
_CONVERT: Final = "Save its weights as safetensors, under the names of the model."

_JOIN: Final = (
    "Put them into one .safetensors file (safetensors.torch.load_file, save_file) and give that."
)
_PART: Final = re.compile(r"[-_.]\d{5}-of-(?!00001)(\d{5})(?!\d)")
"""What the names of files end with that hold a part of the weights each."""

_BEGINNINGS: Final = {
    rb"version https://git-lfs": (
        "is a git-lfs pointer in place of the weights. Fetch them with `git lfs pull`."
    ),
    rb"\s*<": "is a web page, not the weights. Download the file itself.",
    rb"PK": f"is a zip archive that is cut off. {_AGAIN}",
    rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|\x28\xb5\x2f\xfd|Rar!": f"is packed. {_UNPACK}",
    rb"\x89HDF": f"is an HDF5 file, as Keras writes. {_CONVERT}",
    rb"GGUF": f"is a GGUF file. {_CONVERT}",
    rb"\x93NUMPY": "is a single numpy array. Give the weights of all modules, by name.",
    rb"(?s)\s*\{.*\"weight_map\"": (
        f"lists the parts of weights that are in several files. {_JOIN}"
    ),
    rb"\s*[\[{]": "is a text (JSON), not the weights.",
}
"""What a file is that begins so; the first that matches counts."""


def kind_of(path: Path) -> FileKind:
    """Return what kind of weights a file holds, whatever its name.

    Raises KeeprateError, which says what the file is and what to do, for everything else.
    """
    if path.is_dir():
        raise KeeprateError(f"'{path}' is a folder. {_in_folder(path)}")
    if not path.is_file():
        raise KeeprateError(f"No weights file '{path}'.")
    if part := _PART.search(path.name):
        raise KeeprateError(f"'{path}' is one of {int(part[1])} parts of weights. {_JOIN}")
    return kind_of_content(path)


def _in_folder(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    if "config.json" in names and "preprocessor_config.json" in names:
        return f"A model of transformers is named with it: --model {PREFIX}{folder}."
    endings = (".safetensors", ".bin", ".pth", ".pt", ".npz")
    files = [name for name in names if name.lower().endswith(endings)]
    if files and all(_PART.search(name) for name in files):
        return f"It holds weights in {len(files)} parts. {_JOIN}"
    few = ", ".join(files[:3] + ["..."] * (len(files) > 3))
    return f"Give the weights file in it: {few}." if files else "It holds no weights file."


def kind_of_content(path: Path) -> FileKind:
    """Return what kind of weights a file holds, as `kind_of`, or a part of the weights."""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise KeeprateError(f"Cannot read the weights '{path}': {error.strerror}.") from error
    if not start.strip(b"\0"):
        state = "holds nothing but zeros" if start else "is empty"
        raise KeeprateError(f"'{path}' {state}. {_AGAIN}")
    if start[8:9] == b"{":
        _check_length(path, 8 + int.from_bytes(start[:8], "little"))
        return FileKind.SAFETENSORS
    if zipfile.is_zipfile(path):
        return _kind_of_archive(path)
    for beginning, what in _BEGINNINGS.items():
        if re.match(beginning, start, re.IGNORECASE):
            raise KeeprateError(f"'{path}' {what}")
    if tarfile.is_tarfile(path):
        raise KeeprateError(f"'{path}' is a tar archive. {_UNPACK}")
    # pickles of protocol 2 and later, as torch wrote them before its files were zip archives
    if start[:1] == b"\x80":
        return FileKind.TORCH
    raise KeeprateError(
        f"'{path}' is no weights file: neither safetensors nor a PyTorch checkpoint nor .npz."
    )


def _check_length(path: Path, least: int) -> None:
    """Refuse a safetensors file that ends within its list of weights."""
    if path.stat().st_size < least:
        raise KeeprateError(f"'{path}' is cut off: its list of weights is not complete. {_AGAIN}")


def _kind_of_archive(path: Path) -> FileKind:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    files = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in files:
        raise KeeprateError(
            f"'{path}' is a TorchScript program: it holds code, which is never run. Save the "
            "state_dict() of its module."
        )
    if "data.pkl" in files:
        return FileKind.TORCH
    if names and all(name.endswith(".npy") for name in names):
        return FileKind.NPZ
    raise KeeprateError(f"'{path}' is a zip archive. {_UNPACK}")
