"""The index of the pictures of a store: `pictures/pictures.report.json`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError
from pydantic_core import from_json

from .atomic_files import write_together
from .record import Record

FOLDER: Final = "pictures"
INDEX: Final = "pictures.report.json"
INDEX_VERSION: Final = 1
"""Version of the index; raised when one of its names or their meaning changes."""


# plain file names: an index from elsewhere must not lead out of the folder
_SheetFile = Annotated[str, Field(pattern=r"^[^./\\:][^/\\:]*\.png$")]
_PanelFile = Annotated[str, Field(pattern=r"^[^./\\:][^/\\:]*\.(png|webp)$")]


class PicturedEnd(Record):
    """What a run leaves of the `patches` of a sample in the end, and the `file` that shows it.

    They live in `tokens` patch tokens. `dropped` of them are gone, `aside` of them bypass the last
    blocks and come back before the head, and `merged` of them share a token with others.
    """

    patches: int
    tokens: int
    dropped: int
    aside: int = 0
    merged: int
    file: _PanelFile


class PicturedGuess(Record):
    """The class that one run predicts in a picture, by number and name.

    `stored` is the prediction in the run's rows, None for an unpruned model that is not among the
    runs. `end` is None for the unpruned model, and for samples that are shown block by block alone.
    """

    run: str
    prediction: int
    name: str
    confidence: float
    stored: int | None
    end: PicturedEnd | None = None


class Pictured(Record):
    """A sample and the `file`, beside the index, that shows it.

    `different_percent` is the share of pairs of runs whose predictions differ. `kl_spread_nats` is
    the largest minus the smallest KL divergence. `predictions` are in the order of the runs.
    `input_file` shows the sample alone; it is None where no run has an `end`.
    """

    id: str
    label: int
    label_name: str
    different_percent: float
    kl_spread_nats: float
    unpruned: PicturedGuess
    predictions: tuple[PicturedGuess, ...]
    file: _SheetFile
    input_file: _PanelFile | None = None

    def files(self) -> set[str]:
        """Return the names of all files of this sample."""
        panels = [guess.end.file for guess in self.predictions if guess.end]
        return {self.file, *panels, *filter(None, [self.input_file])}


class PicturedPair(Record):
    """How alike the runs `first` and `second` (ids) are: means over images, None of no image.

    `analysis.alike.AlikePair` says what each of them is.
    """

    first: str
    second: str
    kept: float | None
    kept_by_chance: float | None
    grouping: float | None
    scores: float | None


class PicturedAlike(Record):
    """How alike the runs of a group are, pair by pair, on so many `images` of theirs."""

    images: int
    pairs: tuple[PicturedPair, ...]


class PicturedGroup(Record):
    """The samples of one group of the store's summary on which `runs` disagree most.

    `alike` is None where too few images could be traced, and in an index from before there was it.
    """

    title: str
    budget: str
    runs: tuple[str, ...]
    labels: tuple[str, ...]
    text: str
    samples: tuple[Pictured, ...]
    alike: PicturedAlike | None = None

    def class_names(self) -> dict[int, str]:
        """Return the names of the classes of this group, by number."""
        names = {sample.label: sample.label_name for sample in self.samples}
        for sample in self.samples:
            names |= {guess.prediction: guess.name for guess in sample.predictions}
            names[sample.unpruned.prediction] = sample.unpruned.name
        return names

    def files(self) -> set[str]:
        """Return the names of the files of all samples."""
        return {file for sample in self.samples for file in sample.files()}


class PictureIndex(Record):
    """All groups of a store that have pictures."""

    version: Literal[1] = INDEX_VERSION
    groups: tuple[PicturedGroup, ...] = ()

    def of_group(self, ids: Collection[str]) -> PicturedGroup | None:
        """Return the pictured group whose runs are among these ids, None if there is none."""
        # where two runs share a label, a reader could not tell them apart
        groups = (group for group in self.groups if len(group.runs) == len(set(group.labels)) > 1)
        return next((group for group in groups if set(group.runs) <= set(ids)), None)

    def files(self) -> set[str]:
        """Return the names of all files."""
        return {file for group in self.groups for file in group.files()}


def picture_path(folder: Path, file: str) -> Path:
    """Return where a store in `folder` keeps a picture."""
    return folder / FOLDER / file


def read_index(folder: Path) -> tuple[PictureIndex, list[str]]:
    """Return the index in the folder of pictures, an empty one if there is none.

    The second value holds a line about what is wrong with the index, and is empty if nothing is.
    """
    path = folder / INDEX
    if not path.is_file():
        return PictureIndex(), []
    try:
        return _parse(path.read_bytes()), []
    except (OSError, ValueError) as error:
        message = next(iter(str(error).splitlines()), type(error).__name__)
        return PictureIndex(), [f"{folder.name}/{INDEX}: {message}; draw the pictures again"]


def write_index(folder: Path, index: PictureIndex, pictures: dict[str, bytes]) -> list[Path]:
    """Write pictures by file name, then the index; return their paths, the index last.

    Pictures that only the old index names are removed. Raises KeeprateError for a folder that
    cannot be written to.
    """
    old_index, _ = read_index(folder)
    text = index.model_dump_json(indent=1) + "\n"
    contents = {folder / name: content for name, content in pictures.items()}
    # last, so that it vouches for the pictures; "replace": class names may hold half a character
    contents[folder / INDEX] = text.encode("utf-8", "replace")
    write_together(contents)
    for name in old_index.files() - index.files():
        (folder / name).unlink(missing_ok=True)
    return list(contents)


def _parse(data: bytes) -> PictureIndex:
    """Parse an index. Raises ValueError that says in one line what is wrong."""
    content = from_json(data)
    # first: an index of another version would fail with a message about some field
    version = content.get("version") if isinstance(content, dict) else None
    if version != INDEX_VERSION:
        raise ValueError(f"has version {version}, this keeprate reads {INDEX_VERSION}")
    try:
        return PictureIndex.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key_path = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{key_path}: {first['msg']}") from error
