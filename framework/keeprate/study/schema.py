"""The one specification of a study: its keys, their types and their defaults.

`keeprate compare`, `keeprate.compare` and study files are parsers into `StudySpec`. Defaults that a
request has, too, are those of `keeprate.request`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import KeeprateError
from ..method import Method
from ..request import DEFAULT_SEEDS, CalibrationSpec, InputChanges, LoopOptions, Options
from .value_types import (
    Accelerator,
    Channels,
    Deviations,
    Devices,
    File,
    FolderName,
    ImageSize,
    Interpolation,
    Items,
    Name,
    PartOfSamples,
    Precision,
    Share,
    Some,
    Text,
    Zips,
)
from .whole_numbers import BatchSize, Count, Seed, Workers

if TYPE_CHECKING:
    from ..backbones.loading.loaded import LoadedModel
    from ..dataset import DataSet
else:
    # these import torch, and a mistake should be told before that; `_is_object` looks at the types
    LoadedModel = DataSet = Any


def _is_plain(value: object) -> bool:
    """Tell whether a value is one that YAML and the command line have, too."""
    return value is None or isinstance(value, str | int | float | list | dict)


class StudyEntry(BaseModel):
    """Base of everything written in a study: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @classmethod
    def keys(cls) -> list[str]:
        """Return the keys that can be written; `given` is only for objects."""
        return [key for key in cls.model_fields if key != "given"]


class Named(StudyEntry):
    """Something with a name and more keys; the name alone, as a text, is enough.

    From Python the name may be the object itself: `given` then holds it, and `name` is its own.
    """

    name: Name

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        entry = dict(value) if isinstance(value, Mapping) else {"name": value}
        if "given" in entry:
            raise ValueError("given is no key here.")
        named: Any = entry.get("name")
        return {**entry, "name": named.name, "given": named} if cls._is_object(named) else entry

    @classmethod
    def _is_object(cls, value: object) -> bool:
        """Tell whether a value is what the entry names; ValueError for one that never can be."""
        raise NotImplementedError


class ModelEntry(Named):
    """A model, the file of its weights, and the size and preparation of its images.

    The size is (height, width) in pixels; `mean` and the others are as in `InputChanges`.
    """

    weights: File | None = None
    image_size: ImageSize | None = None
    mean: Channels | None = None
    std: Deviations | None = None
    interpolation: Interpolation | None = None
    crop_pct: Share | None = None
    given: LoadedModel | None = None

    @property
    def changes(self) -> InputChanges:
        """What images are prepared with in place of the model's own."""
        return InputChanges(self.mean, self.std, self.interpolation, self.crop_pct)

    @classmethod
    def _is_object(cls, value: object) -> bool:
        if _is_plain(value):
            return False
        from ..backbones.loading.loaded import LoadedModel

        return isinstance(value, LoadedModel)

    @model_validator(mode="before")
    @classmethod
    def _check_parts(cls, value: Any) -> Any:
        parts = value if isinstance(value, Mapping) else {}
        keys = [key for key in cls.keys() if key != "name"]  # noqa: SIM118  no mapping
        given = [key for key in keys if parts.get(key) is not None]
        if not given:
            return value
        go = "go" if len(given) > 1 else "goes"
        if "name" not in parts or cls._is_object(parts["name"]):
            not_a_module = ", not a module" if "name" in parts else ""
            raise ValueError(f"{' and '.join(given)} {go} with a model's name{not_a_module}.")
        return value


class DataEntry(Named):
    """A data set and values for its parameters; the name may hold some, as `name:folder`."""

    parameters: dict[str, Any] = {}
    given: DataSet | None = None

    @classmethod
    def _is_object(cls, value: object) -> bool:
        if _is_plain(value):
            return False
        from ..dataset import DataSet

        return isinstance(value, DataSet)


class MethodEntry(Named):
    """A method, values or axes for its parameters, and costs of its own."""

    parameters: dict[str, Any] = {}
    given: Method | type[Method] | None = None

    @classmethod
    def _is_object(cls, value: object) -> bool:
        if isinstance(value, Method) or not callable(value):
            return isinstance(value, Method)
        from ..reduction.reduce import resolve_method_class

        try:
            resolve_method_class(value)
        except KeeprateError as error:
            raise ValueError(str(error)) from error
        return True

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        if self.parameters and isinstance(self.given, Method):
            raise ValueError("parameters go with a method's name or class, not a Method.")
        return self

    zip: Zips = ()
    budgets: Items[Text] | None = None
    schedules: Items[Text] | None = None


class Exclusion(StudyEntry):
    """Runs to leave out: those that match all keys given here."""

    method: Items[str] | None = None
    model: Items[str] | None = None
    data: Items[str] | None = None
    budget: Items[Text] | None = None
    schedule: Items[Text] | None = None
    seed: Items[int] | None = None
    parameters: dict[str, Any] = {}


class StudySpec(StudyEntry):
    """A whole study: what is compared, on what, at which costs and with which seeds, and how."""

    entries: ClassVar[dict[str, type[StudyEntry]]] = {
        "models": ModelEntry,
        "data": DataEntry,
        "methods": MethodEntry,
        "exclude": Exclusion,
        "calibration": DataEntry,
    }
    """The types of these keys, or of their items."""
    lists: ClassVar[frozenset[str]] = frozenset(
        {*entries, "budgets", "schedules", "seeds", "logger"} - {"calibration"}
    )

    name: FolderName | None = None
    description: str = ""
    models: Items[ModelEntry] | None = None
    data: Items[DataEntry] | None = None
    methods: Items[MethodEntry] | None = None
    budgets: Items[Text] | None = None
    schedules: Items[Text] | None = None
    seeds: Items[Seed] = DEFAULT_SEEDS
    calibration: DataEntry | None = None
    calibration_images: Count = CalibrationSpec.images
    calibration_seed: Seed = CalibrationSpec.seed
    exclude: Some[Exclusion] = ()
    limit: Count | None = None
    part: PartOfSamples | None = None
    skip_bad: bool = Options.skip_bad
    empty_last_mlp: bool = Options.empty_last_mlp
    throughput: bool = Options.throughput
    precision: Precision = LoopOptions.precision
    batch_size: BatchSize = LoopOptions.batch_size
    workers: Workers | None = None
    accelerator: Accelerator = LoopOptions.accelerator
    devices: Devices = LoopOptions.devices
    cache_decoded: File | None = None
    engine: str | None = None
    logger: Some[str] = ()
    checkpoint_seconds: Annotated[float, Field(strict=True, gt=0)] = LoopOptions.checkpoint_seconds
    checkpoint_batches: Count | None = LoopOptions.checkpoint_batches
    runs_per_pass: Count = Options.runs_per_pass
