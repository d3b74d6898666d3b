"""The file that says what the pictures of a store show: `pictures/pictures.report.json`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError
from pydantic_core import from_json

from .atomic_files import write_together
from .records import Record

FOLDER: Final = "pictures"
INDEX: Final = "pictures.report.json"
INDEX_VERSION: Final = 1
"""Of the names in the index and their meaning; raised when one changes."""


class PicturedGuess(Record):
    """What one run predicts in a picture, by the class's number and name; `stored` in its rows.

    `stored` is None for the unpruned model where it is not among the runs.
    """

    run: str
    prediction: int
    name: str
    confidence: float
    stored: int | None


class Pictured(Record):
    """A sample and the `file`, beside the index, that shows it.

    `different_percent` is the share of pairs of runs whose predictions differ, `kl_spread_nats`
    the largest less the smallest KL divergence; `predictions` are in the order of the runs.
    """

    id: str
    label: int
    label_name: str
    different_percent: float
    kl_spread_nats: float
    unpruned: PicturedGuess
    predictions: tuple[PicturedGuess, ...]
    file: Annotated[str, Field(pattern=r"^[^./\\:][^/\\:]*\.png$")]


class PicturedGroup(Record):
    """The samples of one group of the store's summary on which `runs` disagree most."""

    title: str
    budget: str
    runs: tuple[str, ...]
    labels: tuple[str, ...]
    text: str
    samples: tuple[Pictured, ...]

    def class_names(self) -> dict[int, str]:
        """Return the names of the classes that are known here, by number."""
        names = {each.label: each.label_name for each in self.samples}
        for sample in self.samples:
            names |= {each.prediction: each.name for each in sample.predictions}
            names[sample.unpruned.prediction] = sample.unpruned.name
        return names


class PictureIndex(Record):
    """All groups of a store of which pictures were drawn."""

    version: Literal[1] = INDEX_VERSION
    groups: tuple[PicturedGroup, ...] = ()

    def of_group(self, ids: Collection[str]) -> PicturedGroup | None:
        """Return what was drawn of the group whose runs have these ids, if anything was."""
        drawn = (each for each in self.groups if len(each.runs) == len(set(each.labels)) > 1)
        return next((each for each in drawn if set(each.runs) <= set(ids)), None)

    def files(self) -> set[str]:
        """Return the names of all files."""
        return {sample.file for group in self.groups for sample in group.samples}


def picture_path(folder: Path, file: str) -> Path:
    """Return where a store in `folder` keeps a picture."""
    return folder / FOLDER / file


def read_index(folder: Path) -> tuple[PictureIndex, list[str]]:
    """Return the index in the folder of pictures, an empty one if there is none.

    And a line about what is wrong with it, if anything is.
    """
    path = folder / INDEX
    if not path.is_file():
        return PictureIndex(), []
    try:
        return _parsed(path.read_bytes()), []
    except (OSError, ValueError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        return PictureIndex(), [f"{folder.name}/{INDEX}: {said}; draw the pictures again"]


def write_index(folder: Path, index: PictureIndex, pictures: dict[str, bytes]) -> list[Path]:
    """Write pictures by file name, then the index; return their paths, the index last.

    Pictures that the index before named and this one does not are removed. Raises KeeprateError
    for a folder that cannot be written to.
    """
    before, _ = read_index(folder)
    text = index.model_dump_json(indent=1) + "\n"
    contents = {folder / name: content for name, content in pictures.items()}
    contents[folder / INDEX] = text.encode("utf-8", "replace")
    write_together(contents)
    for name in before.files() - index.files():
        (folder / name).unlink(missing_ok=True)
    return list(contents)


def _parsed(data: bytes) -> PictureIndex:
    """Raises ValueError saying in one line what is wrong."""
    content = from_json(data)
    version = content.get("version") if isinstance(content, dict) else None
    if version != INDEX_VERSION:
        raise ValueError(f"has version {version}, this keeprate reads {INDEX_VERSION}")
    try:
        return PictureIndex.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key_path = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{key_path}: {first['msg']}") from error
