"""Records of runs, what was asked and what came out: typed, frozen, versioned."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, JsonValue, PlainSerializer

from .measured import Measured
from .record import Record, Values
from .weights_origin import WeightsOrigin

FORMAT_VERSION: Final = 3
OLDEST_FORMAT_VERSION: Final = 2

ROWS_VERSION: Final = 1
"""Part of every run's id: raised whenever a change in keeprate itself changes the rows."""
ROWS_CHANGED: Final = {"64-true": 1}
"""How often rows changed in one precision alone: added to the version."""


def _origin_of(value: object) -> object:
    return WeightsOrigin.parse(value) if isinstance(value, str) else value


class BackboneInfo(Record):
    """The model that ran: `cls` is its class, `image_size` is (height, width) in pixels.

    `structure_sha256` is a hash of how it is built, `weights_sha256` of its weights.

    For a model of texts, `image_size` is (1, the largest number of tokens of a text).
    """

    name: str
    cls: str
    weights: Annotated[
        WeightsOrigin, BeforeValidator(_origin_of), PlainSerializer(str, return_type=str)
    ]
    weights_sha256: str
    structure_sha256: str
    num_parameters: int
    image_size: tuple[int, int]

    @property
    def samples(self) -> str:
        """What the model classifies: "images" or "texts"."""
        return "texts" if self.image_size[0] == 1 else "images"


class DataInfo(Record):
    """The images or texts that ran and how they were prepared; `skipped` maps id to reason.

    `variant` tells it from others of its name. `parameters` are those of the data set without its
    paths, which are in `places`; what has a path inside is in both, there in full. `fingerprint` is
    a hash of all samples, used or not. `transform_changes` are the parts of `transform` that the
    user asked for. `part` has the start and the end of a part of the samples
    (`keeprate.request.Part`), and how many it was taken from. `notes` are what the data set says of
    its samples, as how many files were passed over.
    """

    name: str
    variant: str = ""
    parameters: Values
    places: Values = Field(default_factory=dict)
    images: int
    fingerprint: str
    transform: Values
    transform_changes: Values = Field(default_factory=dict)
    skipped: dict[str, str]
    part: tuple[float, float, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The name with the variant and the part, for people."""
        title = f"{self.name} ({self.variant})" if self.variant else self.name
        return f"{title}, part {self.part[0]:g} to {self.part[1]:g}" if self.part else title

    @property
    def values(self) -> dict[str, JsonValue]:
        """Every parameter by name, in full."""
        return {**self.places, **self.parameters, **self.places}


class StageInfo(Record):
    """A stage: after `block` (from 0), `keep` patch tokens are left (of the longest text)."""

    block: int
    keep: int


class InputInfo(Record):
    """Sizes of the images and patches that a run had in place of the model's own.

    They are (height, width) in pixels.
    """

    image_size: tuple[int, int]
    patch_size: tuple[int, int]


class CalibrationInfo(Record):
    """The sample on which a run's budget was solved, and what came out.

    It has `images` samples of the data set `data`, drawn with `seed`. `parameters` are all of the
    data set, `is_own` says that the tested data set offered it. `sha256` is a hash of the ids and
    contents of the sample. `budget_macs` is the mean cost per image that the budget allows; `scale`
    is that of the schedule that was found, `macs` the mean cost of the sample with it: None before
    they are known.
    """

    data: str
    parameters: Values
    is_own: bool
    images: int
    seed: int
    sha256: str
    budget_macs: int
    scale: float | None = None
    macs: int | None = None


_NAMES_AND_SPELLINGS: Final = (
    *("method_origin", "backbone_origin", "data_origin"),
    *("schedule", "budget", "seed"),
)
"""Fields of a description that follow from the others or do not change what is computed."""


class RunInfo(Record):
    """The full description of what was asked; two runs that ask the same have the same `id`.

    `sources` are hashes (SHA-256, hex) of the code that a plugin brought for the "method", the
    "backbone" and the "data set", so that changed code makes another run. `files` are those
    `parameters` that are files: their content counts with the code. `stages_sha256` is a
    hash of the stages for all sizes of sample, "" if there is one size. `input` is None for a run
    at the model's own size. `calibration` says how the budget was solved on images, where it was:
    the schedule, the sample and the budget then decide the id, not the `stages` that came out.
    `reduces` is False for the unpruned reference. `empty_last_mlp` says whether the last block's
    MLP ran on the class token alone. The origins name the plugin, or the file of one, that brought
    the method, the backbone and the data set, "" where that was not kept.
    """

    method: str
    method_origin: str
    backbone_origin: str = ""
    data_origin: str = ""
    sources: dict[str, str]
    parameters: Values
    files: tuple[str, ...] = ()
    schedule: str
    budget: str | None
    stages: tuple[StageInfo, ...]
    stages_sha256: str = ""
    input: InputInfo | None = None
    calibration: CalibrationInfo | None = None
    backbone: BackboneInfo
    data: DataInfo
    seed: int
    precision: str
    empty_last_mlp: bool
    reduces: bool

    @property
    def id(self) -> str:
        """`<method>-<12 hex digits>`, fit for a file name; equal wherever the rows must be.

        The digits are of the SHA-256 of everything that can change a row, as JSON with sorted keys.
        Names that people gave, places where files lie, the spelling of schedule and budget and the
        machine are left out.
        """
        version = ROWS_VERSION + ROWS_CHANGED.get(self.precision, 0)
        content = {**self._hashed_content(), "rows_version": version}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        # file systems allow 255 bytes, of which digits, suffixes and temporary names need some
        method = re.sub(r"[^A-Za-z0-9_-]", "_", self.method)[:80]
        return f"{method}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    @property
    def setting(self) -> str:
        """A text that is the same for runs that may be compared: one model on the same images."""
        data = self.data
        parts = [
            self.backbone.weights_sha256,
            self.backbone.image_size,
            data.fingerprint,
            data.images,
            sorted(data.skipped),
            data.transform,
            self.precision,
            *(data.part or ()),
        ]
        return json.dumps(parts, sort_keys=True)

    def _hashed_content(self) -> dict[str, JsonValue]:
        # what is left out of model and data follows from hashes that stay in
        content: dict[str, Any] = self.model_dump(
            mode="json",
            exclude={
                **dict.fromkeys((*_NAMES_AND_SPELLINGS, "files"), True),
                "parameters": set(self.files),
                "backbone": {"name", "weights", "num_parameters"},
                "data": {"name", "variant", "places", "transform_changes", "notes"},
            },
        )
        # the ids alone: reasons are messages of libraries, which other versions spell differently
        content["data"]["skipped"] = sorted(content["data"]["skipped"])
        # older runs have no such fields, and keep their ids
        if self.input is None:
            del content["input"]
        if self.data.part is None:
            del content["data"]["part"]
        if self.calibration is None:
            del content["calibration"]
        else:  # known before the stages are, so that a finished run is found without solving them
            sample = self.calibration
            content["calibration"] = [self.schedule, sample.sha256, sample.budget_macs]
            del content["stages"], content["stages_sha256"]
        return content


class Environment(Record):
    """What the run ran on; `started` is an ISO 8601 time.

    `batch_size` is the size asked for; `notes` say where memory did not suffice for it, and which
    weights were resampled for the image size.
    """

    versions: dict[str, str]
    device: str
    git_revision: str | None
    started: str
    batch_size: int
    workers: int
    notes: tuple[str, ...] = ()


class Result(Record):
    """One finished run: what was asked, what came out, and what it ran on."""

    format_version: Literal[2, 3] = FORMAT_VERSION
    run: RunInfo
    measured: Measured
    environment: Environment

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.run.id


class Failure(Record):
    """One run that failed: `error` in one line, and its `traceback`."""

    format_version: Literal[2, 3] = FORMAT_VERSION
    run: RunInfo
    error: str
    traceback: str
    environment: Environment

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.run.id
