"""Options of the commands that take a few images by name, and the images they select."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import KeeprateError
from ..request import InputChanges, ModelSpec
from .options import INPUT_OPTIONS, ImageSize

if TYPE_CHECKING:
    from ..dataset import DataSet
    from ..request import DataSpec
    from ..visualization.image_selection import ImageSource

IMAGES = click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
OPTIONS = (
    click.option(
        "--model", metavar="NAME", help="timm's, torchvision:NAME, hf:FOLDER; else the data's."
    ),
    click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Its weights."),
    click.option(
        "--image-size", type=ImageSize(), metavar="PIXELS", help="Side, or HEIGHTxWIDTH, of images."
    ),
    *INPUT_OPTIONS,
    click.option(
        "--data", metavar="NAME[:PARAMETERS]", help="IMAGE is an id or index of this data set's."
    ),
)


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them, in any order: `1,3,5`; gives a tuple."""

    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read the text into a tuple; a tuple is already read."""
        if isinstance(value, tuple):
            return value
        texts = str(value).split(",")
        if not all(re.fullmatch(r"\s*\d{1,18}\s*", text) for text in texts):
            self.fail(f"'{value}' is not a list of whole numbers, as 1,3,5.")
        return tuple(int(text) for text in texts)


@dataclass(frozen=True)
class Picking:
    """The images and the model that were named, as they were typed."""

    images: tuple[str, ...]
    model: str | None
    weights: Path | None
    image_size: tuple[int, int] | None
    mean: str | None
    std: str | None
    interpolation: str | None
    crop_pct: float | str | None
    data: str | None

    @property
    def input_options(self) -> dict[str, object]:
        """The options on how images are prepared, by argument, None where not typed."""
        return {name: getattr(self, name) for name in vars(InputChanges())}


@dataclass(frozen=True)
class ShowOptions(Picking):
    """The options of `keeprate show` as they were typed."""

    methods: tuple[str, ...]
    schedule: str | None
    budget: str | None
    blocks: tuple[int, ...] | None
    overlay: bool
    output: Path | None
    disagreeing: Path | None
    most: int | None
    run_ids: tuple[str, ...]


def picking_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument IMAGE... and the options of `source`."""
    return IMAGES(source_options(command))


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `source`."""
    # decorators apply from the last to the first: reversed, the help keeps the order
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def source(asked: Picking) -> ImageSource:
    """Return the source of the images, together with the model they are for.

    With a model and no data set, images are files. Otherwise they are samples of a data set, by
    default of the one that ships with its own classifier. Raises KeeprateError for a name that is
    unknown or a file that is missing.
    """
    from ..backbones.lookup import adapt
    from ..study.build import build_model
    from ..visualization.image_selection import ImageSource

    changes = _changes(asked)
    data = _data(asked)
    spec = ModelSpec(asked.model, asked.weights, asked.image_size, changes=changes)
    loaded = build_model(spec, data)
    return ImageSource(loaded, adapt(loaded.model), data)


def _changes(asked: Picking) -> InputChanges:
    """Return how images are to be prepared; KeeprateError for what the specification refuses."""
    from ..study import Problems
    from ..study.validate import validated
    from .typed_options import TypedOptions

    if not any(value is not None for value in asked.input_options.values()):
        return InputChanges()
    options = {"model": asked.model, **asked.input_options}
    spelling = {name: f"--{name.replace('_', '-')}" for name in options}
    ledger = Problems(TypedOptions(options, spelling))
    models = validated(ledger).models
    if ledger.problems or not models or models[0] is None:
        raise ledger.error()
    return models[0].changes


def _data(options: Picking) -> DataSet:
    from ..data.named import build_data
    from ..visualization.image_selection import ImageFiles

    if options.data is not None or options.model is None:
        return build_data(data_spec(options.data))
    missing = [name for name in options.images if not Path(name).is_file()]
    if missing:
        raise KeeprateError(
            f"No image file '{missing[0]}'. To name samples of a data set, add --data NAME."
        )
    return ImageFiles([Path(name) for name in options.images])


def file_name(stem: str, taken: set[str], suffix: str = ".png") -> str:
    """Return a file name made of `stem` that is not among those `taken`, and add it there."""
    number, name = 1, f"{stem}{suffix}"
    while name in taken:
        number += 1
        name = f"{stem}-{number}{suffix}"
    taken.add(name)
    return name


def check_blocks(blocks: Sequence[int] | None, depth: int) -> None:
    """Raise KeeprateError for a block that a model of `depth` blocks does not have."""
    from ..visualization.image_selection import check_blocks as check

    check(blocks, depth)


def data_spec(text: str | None) -> DataSpec:
    """Return the data set that a text names with its parameters; without text none is named."""
    from ..plugins.parameters import parse_spec
    from ..request import DataSpec

    return DataSpec() if text is None else DataSpec(*parse_spec(text))
