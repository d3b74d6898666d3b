"""What is asked for: by name, small, picklable and the same on every machine, or as built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from .backbones.loading.loaded import LoadedModel
    from .dataset import DataSet
    from .method import Method

Precision: TypeAlias = Literal[
    "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"
]
Accelerator: TypeAlias = Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu"]
PRECISIONS: Final[tuple[str, ...]] = get_args(Precision)
ACCELERATORS: Final[tuple[str, ...]] = get_args(Accelerator)
PREFIX: Final = "hf:"
"""How names of transformers' models begin; all others are timm's."""
DEFAULT_BUDGETS: Final = ("80%", "65%", "50%")
"""What methods are compared at where neither budget nor schedule is named."""


@dataclass(frozen=True)
class Cost:
    """What a method may spend: a schedule's spelling, a budget's, or both."""

    schedule: str | None = None
    budget: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A model by name, with the file of its weights and the size (height, width) of its images.

    Without a name: the classifier that ships with the data set. `built` is the model itself, where
    it has no name that it could be loaded by.
    """

    name: str | None = None
    weights: Path | None = None
    image_size: tuple[int, int] | None = None
    built: LoadedModel | None = None


@dataclass(frozen=True)
class DataSpec:
    """A data set by name, with values for its parameters.

    The values are what `keeprate.plugins.parameters.build` takes. Without a name: the one that
    ships with its own classifier. `built` is the data set itself.
    """

    name: str | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    built: DataSet | None = None


@dataclass(frozen=True)
class RunSpec:
    """A method by name, with values for its parameters, at a cost. Its seed is one of the values.

    Parameters that a preset named by the cost sets are not among the values. `given` is the method
    itself, with its parameters, or a class of method that is not registered under the name.
    """

    method: str
    values: Mapping[str, object] = field(default_factory=dict)
    cost: Cost = Cost()
    given: Method | type[Method] | None = None


@dataclass(frozen=True)
class LoopOptions:
    """How to run the loop: nothing here changes what a run means, `precision` excepted.

    `accelerator` and `devices` as in Lightning ("auto", "cpu", "gpu"; number or list of devices).
    Unfinished rows are saved when `checkpoint_seconds` have passed, or every `checkpoint_batches`.
    """

    batch_size: int = 64
    workers: int = 0
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int | str = 1
    checkpoint_seconds: float = 60.0
    checkpoint_batches: int | None = None


@dataclass(frozen=True)
class Options:
    """How to run a comparison. `limit` takes that many images, evenly spread over the data set.

    `seed` is written down with runs whose method has none. `cache_decoded` is the folder that keeps
    transformed images. One pass over the data serves at most `runs_per_pass` runs.
    """

    loop: LoopOptions = field(default_factory=LoopOptions)
    seed: int = 0
    limit: int | None = None
    skip_bad: bool = False
    empty_last_mlp: bool = False
    force: bool = False
    throughput: bool = True
    cache_decoded: Path | None = None
    runs_per_pass: int = 64


@dataclass(frozen=True)
class Request:
    """Runs asked for on one model and one data set; the unpruned run always goes with them.

    With `only_fitting`, runs of methods that do not suit the model are left out instead of refused.
    """

    model: ModelSpec
    data: DataSpec
    runs: tuple[RunSpec, ...]
    options: Options = Options()
    only_fitting: bool = False

    @property
    def is_by_name(self) -> bool:
        """Whether names are all there is to it, so that another process can ask for the same."""
        built = [self.model.built, self.data.built, *(run.given for run in self.runs)]
        return all(each is None for each in built)


def plain_folder(value: str) -> str:
    """Return a name under which results can be kept; ValueError if it is none."""
    if not re.fullmatch(r"(?!\.+$)[\w.+ -]+", value):
        raise ValueError(f"'{value}' must be one plain folder name.")
    return value
