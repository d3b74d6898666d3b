"""The one specification of a study: its keys, their types and their defaults.

`keeprate compare`, `keeprate.compare` and study files are parsers into `StudySpec`. Defaults that a
request has, too, are those of `keeprate.request`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from ..errors import KeeprateError, unknown_name
from ..method import Method
from ..request import (
    ACCELERATORS,
    DEFAULT_SEEDS,
    MOST_PIXELS,
    MOST_PROCESSES,
    PRECISIONS,
    LoopOptions,
    Options,
    plain_folder,
)
from .whole_numbers import BatchSize, Count, Seed, Workers, from_to, value_text

if TYPE_CHECKING:
    from ..backbones.loading.loaded import LoadedModel
    from ..dataset import DataSet
else:
    # these import torch, and a mistake should be told before that; `_is_object` looks at the types
    LoadedModel = DataSet = Any

T = TypeVar("T")


def _as_list(value: object) -> object:
    """Return a single value as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _number_to_text(value: object) -> object:
    """Return a number as its text, because budgets and schedules are texts."""
    # True is an int, but no budget
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _expand_path(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) else value


def _parse_pixels(value: object) -> object:
    """Return 384, "384x288" or [384, 288], height first, as (height, width) in pixels."""
    if isinstance(value, str):
        value = [int(side) if re.fullmatch(r"\d{1,18}", side) else 0 for side in value.split("x")]
    # one number is the side of a square
    sides = value * (2 // len(value)) if isinstance(value, list) and value else [value, value]
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError("must be pixels, as 384, or HEIGHTxWIDTH, as 384x288.")
    return tuple(from_to(side, 1, MOST_PIXELS) for side in sides)


def _as_zips(value: object) -> object:
    """Return a single list of names as a list of one such list."""
    is_one = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return [value] if is_one else value


def _check_devices(value: object) -> object:
    # the exact type, because True is an int as well
    if value != "auto" and not (type(value) is int and value > 0):
        raise ValueError("must be a number of devices from 1, or auto.")
    return value if value == "auto" else from_to(value, 1, MOST_PROCESSES)


def _check_name(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"must be a name, not {value_text(value)}.")
    return value


def _is_plain(value: object) -> bool:
    """Tell whether a value is one that YAML and the command line have, too."""
    return value is None or isinstance(value, str | int | float | list | dict)


def _one_of(kind: str, known: Collection[str]) -> BeforeValidator:
    """Return a validator that refuses names that are not `known`, and suggests the nearest."""

    def check(value: object) -> object:
        if value not in known:
            raise ValueError(str(unknown_name(kind, str(value), known)))
        return value

    return BeforeValidator(check)


File = Annotated[Path, BeforeValidator(_expand_path)]
Text = Annotated[str, BeforeValidator(_number_to_text)]
ImageSize = Annotated[tuple[int, int], BeforeValidator(_parse_pixels)]
Devices = Annotated[int | str, BeforeValidator(_check_devices)]
Zips = Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_as_zips)]
Some = Annotated[tuple[T | None, ...], BeforeValidator(_as_list)]
"""One or several; a refused item becomes None, so that the others keep their position."""
Items = Annotated[Some[T], Field(min_length=1)]


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

    name: Annotated[str, BeforeValidator(_check_name)]

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
    """A model, the file of its weights and the size of its images (height, width) in pixels."""

    weights: File | None = None
    image_size: ImageSize | None = None
    given: LoadedModel | None = None

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
        if parts.get("weights") is None and parts.get("image_size") is None:
            return value
        if "name" not in parts:
            raise ValueError("weights and image_size need a model's name.")
        if cls._is_object(parts["name"]):
            raise ValueError("weights and image_size go with a model's name, not a module.")
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
    }
    """The types of the items of these keys."""
    lists: ClassVar[frozenset[str]] = frozenset(
        {*entries, "budgets", "schedules", "seeds", "logger"}
    )

    name: Annotated[str, BeforeValidator(_number_to_text), AfterValidator(plain_folder)] | None = (
        None
    )
    description: str = ""
    models: Items[ModelEntry] | None = None
    data: Items[DataEntry] | None = None
    methods: Items[MethodEntry] | None = None
    budgets: Items[Text] | None = None
    schedules: Items[Text] | None = None
    seeds: Items[Seed] = DEFAULT_SEEDS
    exclude: Some[Exclusion] = ()
    limit: Count | None = None
    skip_bad: bool = Options.skip_bad
    empty_last_mlp: bool = Options.empty_last_mlp
    throughput: bool = Options.throughput
    precision: Annotated[str, _one_of("precision", PRECISIONS)] = LoopOptions.precision
    batch_size: BatchSize = LoopOptions.batch_size
    workers: Workers | None = None
    accelerator: Annotated[str, _one_of("accelerator", ACCELERATORS)] = LoopOptions.accelerator
    devices: Devices = LoopOptions.devices
    cache_decoded: File | None = None
    engine: str | None = None
    logger: Some[str] = ()
    checkpoint_seconds: Annotated[float, Field(strict=True, gt=0)] = LoopOptions.checkpoint_seconds
    checkpoint_batches: Count | None = LoopOptions.checkpoint_batches
    runs_per_pass: Count = Options.runs_per_pass
