"""A request for runs: names, small and picklable, the same on every machine; or built objects."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .backbones.loading.loaded import LoadedModel
    from .dataset import DataSet
    from .method import Method

PRECISIONS: Final = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
MOST_IMAGES: Final = 2**20
"""The most images of a batch."""
MOST_PIXELS: Final = 2**16
"""The longest side of an image."""
MOST_PROCESSES: Final = 1024
"""More workers or devices than this are a mistake, which would stop the machine."""
ACCELERATORS: Final = ("auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu")
INTERPOLATIONS: Final = ("nearest", "bilinear", "bicubic")
PREFIX: Final = "hf:"
"""Prefix of the names of transformers' models; names without a prefix are timm's."""
TORCHVISION: Final = "torchvision:"
"""Prefix of the names of torchvision's models."""
DEFAULT_BUDGETS: Final = ("80%", "65%", "50%")
"""Budgets of a comparison whose user names neither a budget nor a schedule."""
DEFAULT_SEEDS: Final = (0,)
"""Seeds of the methods that have one, where the user names none."""


@dataclass(frozen=True)
class Cost:
    """The cost of a method: the spelling of a schedule, of a budget, or both."""

    schedule: str | None = None
    budget: str | None = None


@dataclass(frozen=True)
class InputChanges:
    """What images are prepared with in place of the model's own: whatever is not None.

    Names and meanings are those of `keeprate.backbones.loading.model_input.ModelInput`.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The values that are not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class ModelSpec:
    """A model by name, with the file of its weights and the size (height, width) of its images.

    `changes` are made to how its images are prepared.

    Without a name, it is the classifier that ships with the data set. `built` is the model itself,
    if no name could load it.
    """

    name: str | None = None
    weights: Path | None = None
    image_size: tuple[int, int] | None = None
    built: LoadedModel | None = None
    changes: InputChanges = InputChanges()


@dataclass(frozen=True)
class DataSpec:
    """A data set by name, with values for its parameters.

    `keeprate.plugins.parameters.build` takes the values. Without a name, it is the data set that
    ships with its own classifier. `built` is the data set itself.
    """

    name: str | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    built: DataSet | None = None


@dataclass(frozen=True)
class CalibrationSpec:
    """The sample on which budgets are solved that have to be solved on images.

    It has `images` samples of `data`, drawn with `seed`; without `data`, of what the tested data
    set itself offers (`DataSet.calibration`).
    """

    data: DataSpec | None = None
    images: int = 64
    seed: int = 0


@dataclass(frozen=True)
class RunSpec:
    """A method by name, with values for its parameters, at a cost. The seed is one of the values.

    The values leave out the parameters of a preset that the cost names. `given` is the method
    itself, with its parameters, or a class of method that is not registered under the name.
    """

    method: str
    values: Mapping[str, object] = field(default_factory=dict)
    cost: Cost = Cost()
    given: Method | type[Method] | None = None


@dataclass(frozen=True)
class LoopOptions:
    """How to run the loop: of these options only `precision` changes the results of a run.

    `accelerator` and `devices` as in Lightning ("auto", "cpu", "gpu"; number or list of devices).
    Unfinished rows are saved after `checkpoint_seconds`, or after every `checkpoint_batches`.
    """

    batch_size: int = 64
    workers: int = 0
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int | str = 1
    checkpoint_seconds: float = 60.0
    checkpoint_batches: int | None = None


@dataclass(frozen=True)
class Part:
    """The samples whose place from 0 to 1 is at least `start` and less than `end`.

    The place is a hash of the sample's id: chance, but the same in every run, and no sample changes
    its part when others come or go.
    """

    start: float
    end: float

    def holds(self, sample_id: str) -> bool:
        """Tell whether a sample is in this part."""
        digest = hashlib.sha256(sample_id.encode()).digest()[:6]
        return self.start <= int.from_bytes(digest) / 2**48 < self.end


@dataclass(frozen=True)
class Options:
    """How to run a comparison.

    `limit` takes that many images, evenly spread over the data set, and `part` keeps those of them
    that are in it. `seed` is for methods that take
    one and whose run names none; it is recorded for methods that take none. `cache_decoded` is the
    folder that keeps transformed images. One pass over the data serves at most `runs_per_pass`
    runs. `calibration` matters only to budgets of methods that keep a different number of tokens
    in every image.
    """

    loop: LoopOptions = field(default_factory=LoopOptions)
    seed: int = 0
    limit: int | None = None
    part: Part | None = None
    skip_bad: bool = False
    empty_last_mlp: bool = False
    force: bool = False
    throughput: bool = False
    cache_decoded: Path | None = None
    runs_per_pass: int = 64
    calibration: CalibrationSpec = CalibrationSpec()


@dataclass(frozen=True)
class Request:
    """The requested runs on one model and one data set; the unpruned run is always added.

    With `only_fitting`, runs of methods that do not suit the model are left out instead of refused.
    """

    model: ModelSpec
    data: DataSpec
    runs: tuple[RunSpec, ...]
    options: Options = Options()
    only_fitting: bool = False

    @property
    def is_by_name(self) -> bool:
        """Whether the request holds only names, so that another process can repeat it."""
        data = [self.data, self.options.calibration.data]
        objects: list[object] = [self.model.built, *(run.given for run in self.runs)]
        objects += [spec.built for spec in data if spec is not None]
        return all(built is None for built in objects)


def plain_folder(value: str) -> str:
    """Return `value` if it can be the name of a folder of results; ValueError if not."""
    # no separators, and not "." or "..": the folder stays inside the one for runs
    if not re.fullmatch(r"(?!\.+$)[\w.+ -]+", value):
        raise ValueError(f"'{value}' must be one plain folder name.")
    return value
