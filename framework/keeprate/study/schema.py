"""The keys of a study file, their types and their defaults, as pydantic models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..request import Accelerator, Precision, plain_folder

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
        value = [int(side) if side.isdecimal() else 0 for side in value.split("x")]
    # one number is the side of a square
    sides = value * (2 // len(value)) if isinstance(value, list) and value else [value, value]
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError("must be pixels, as 384, or HEIGHTxWIDTH, as 384x288.")
    return tuple(sides)


def _as_zips(value: object) -> object:
    """Return a single list of names as a list of one such list."""
    is_one = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return [value] if is_one else value


def _check_devices(value: object) -> object:
    # the exact type, because True is an int as well
    if value != "auto" and not (type(value) is int and value > 0):
        raise ValueError("must be a number of devices from 1, or auto.")
    return value


# strict: pydantic would take true for 1 and "64" for 64
Count = Annotated[int, Field(strict=True, ge=1)]
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

    model_config = ConfigDict(frozen=True, extra="forbid")


class Named(StudyEntry):
    """Something with a name and more keys; the name alone, as a text, is enough."""

    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class ModelEntry(Named):
    """A model, the file of its weights and the size of its images (height, width) in pixels."""

    weights: File | None = None
    image_size: ImageSize | None = None


class DataEntry(Named):
    """A data set and values for its parameters; the name may hold some, as `name:folder`."""

    parameters: dict[str, Any] = {}


class MethodEntry(Named):
    """A method, values or axes for its parameters, and costs of its own."""

    parameters: dict[str, Any] = {}
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


class StudyContent(StudyEntry):
    """A whole study file."""

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
    seeds: Items[Annotated[int, Field(strict=True)]] = (0,)
    exclude: Some[Exclusion] = ()
    limit: Count | None = None
    skip_bad: bool = False
    empty_last_mlp: bool = False
    throughput: bool = False
    precision: Precision = "32-true"
    batch_size: Count = 64
    workers: Annotated[int, Field(strict=True, ge=0)] | None = None
    accelerator: Accelerator = "auto"
    devices: Devices = 1
    cache_decoded: File | None = None
    engine: str | None = None
    logger: Some[str] = ()
    checkpoint_seconds: Annotated[float, Field(strict=True, gt=0)] = 60.0
    checkpoint_batches: Count | None = None
    runs_per_pass: Count = 64
