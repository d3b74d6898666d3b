"""Files of schedules that a search has found, which are read wherever `@FILE` is a schedule."""

from __future__ import annotations

from math import floor
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import Field, ValidationError

from ..errors import KeeprateError
from ..method import Method, Place
from ..results.record import Record, Values

_DIGITS: Final = 6
_ADVICE: Final = "Write it anew with `keeprate search`."


class ShareStage(Record):
    """A stage as shares: at `depth` of the model's blocks, `tokens` of all patch tokens stay."""

    depth: Annotated[float, Field(ge=0, le=1)]
    tokens: Annotated[float, Field(gt=0, le=1)]


class FoundOn(Record):
    """What the schedule was found on: the model's `blocks` and `patches`, and the data."""

    model: str
    data: str
    blocks: Annotated[int, Field(gt=0)]
    patches: Annotated[int, Field(gt=0)]


class ConfirmedFigure(Record):
    """A schedule on the images of the search, and on the others, which nothing was chosen by.

    `found_is` says how the found schedule differs there, corrected for all that was compared.
    """

    schedule: str
    macs: int
    searched: float
    confirmed: float
    found_is: str = ""


class Evidence(Record):
    """How the schedule was found: by which `strategy` and `metric`, and what came out."""

    strategy: str
    trials: int
    metric: str
    images_searched: int
    images_confirmed: int
    figures: tuple[ConfirmedFigure, ...]


class ScheduleFile(Record):
    """A schedule that was found for `method` with `parameters` at `budget`."""

    format: Literal["keeprate schedule 1"] = "keeprate schedule 1"
    method: str
    parameters: Values
    budget: str
    stages: Annotated[tuple[ShareStage, ...], Field(min_length=1)]
    found_on: FoundOn
    evidence: Evidence
    versions: dict[str, str]

    def text(self) -> str:
        """Return the YAML of the file."""
        dumped: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, width=100)
        return dumped

    def note(self, spelling: str, patches: int, depth: int) -> str | None:
        """Return a sentence if it was found for another model than one with these sizes."""
        found = self.found_on
        if (found.patches, found.blocks) == (patches, depth):
            return None
        return (
            f"Schedule '{spelling}' was found for {found.blocks} blocks and {found.patches} "
            f"patches, and is scaled to {depth} and {patches}."
        )

    def kept(
        self, method: Method, patches: int, depth: int, scale: float | None
    ) -> tuple[tuple[int, ...], list[int]]:
        """Return the blocks of the stages and the patch tokens that stay after each.

        `scale` is the free scale of a budget: the exponent of all shares.
        """
        # of two stages that fall on one block, the later one keeps fewer tokens
        share_at = {block_at(method, stage.depth, depth): stage.tokens for stage in self.stages}
        tokens = [
            patches * share ** (1.0 if scale is None else scale) for share in share_at.values()
        ]
        return tuple(share_at), [max(1, floor(count + 0.5)) for count in tokens]


def share_stage(method: Method, block: int, keep: int, blocks: int, patches: int) -> ShareStage:
    """Return a stage of a model with so many blocks and patches as shares of these."""
    return ShareStage(
        depth=round((block + _end(method)) / blocks, _DIGITS), tokens=round(keep / patches, _DIGITS)
    )


def block_at(method: Method, depth: float, blocks: int) -> int:
    """Return the block at which `method` reduces tokens at this share of so many blocks."""
    # + 0.5 rounds halves up; `round` would round them to even numbers
    return min(max(floor(depth * blocks + 0.5) - _end(method), 0), blocks - 1)


def _end(method: Method) -> int:
    """Return 1 for a method that acts at the end of a block, 0 for one that acts before that."""
    return 1 if method.place is Place.AFTER_BLOCK else 0


def read_schedule(path: Path) -> ScheduleFile:
    """Return the schedule in a file.

    Raises KeeprateError, in one line, for a file that cannot be read or is damaged.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeeprateError(f"Cannot read the schedule file '{path}': {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise KeeprateError(f"Schedule file '{path}' is not YAML: {line}. {_ADVICE}") from error
    if not isinstance(content, dict):
        raise KeeprateError(f"Schedule file '{path}' is no mapping. {_ADVICE}")
    try:
        found = ScheduleFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise KeeprateError(f"Schedule file '{path}', {key}: {first['msg']}. {_ADVICE}") from error
    _check_order(path, found)
    return found


def _check_order(path: Path, found: ScheduleFile) -> None:
    depths = [stage.depth for stage in found.stages]
    if depths != sorted(set(depths)):
        raise KeeprateError(f"Schedule file '{path}', stages: depth must ascend. {_ADVICE}")
