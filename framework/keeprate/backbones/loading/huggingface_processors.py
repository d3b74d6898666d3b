"""Read from a transformers checkpoint how its inputs are prepared: image processor, tokenizer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import KeeprateError
from ...request import PREFIX
from .model_input import ModelInput, share_of
from .reasons import first_line

PREPROCESSOR = "preprocessor_config.json"
KNOWN = re.compile(r"(ViT|DeiT|Bit|Beit|Siglip|CLIP)ImageProcessor(Fast|Pil)?")
"""Image processors that do only what their settings say."""
KNOWN_STEPS = frozenset(
    {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}
)
LABEL_STEPS = frozenset({"do_reduce_labels"})
"""Steps that change labels, not images."""
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers for the interpolations that torchvision has for tensors as well."""


def image_input(folder: Path) -> ModelInput:
    """Read what a model expects of its images from its preprocessor_config.json.

    Raises KeeprateError where there is none, or it asks for anything but resizing, cutting out the
    middle, scaling to 0..1 and normalising.
    """
    processor = _load_processor(folder)
    if not KNOWN.fullmatch(type(processor).__name__):
        raise _unsupported_error(folder, f"{type(processor).__name__} is not known")
    steps = {name for name in dir(processor) if name.startswith("do_") and getattr(processor, name)}
    if unknown := sorted(steps - KNOWN_STEPS - LABEL_STEPS):
        raise _unsupported_error(folder, f"{unknown[0]} is set")
    if missing := sorted({"do_resize", "do_rescale"} - steps):
        raise _unsupported_error(folder, f"{missing[0]} is not set")
    # the one factor that `build_transform` can apply
    if not math.isclose(processor.rescale_factor, 1 / 255, rel_tol=1e-6):
        raise _unsupported_error(folder, f"rescale_factor is {processor.rescale_factor}, not 1/255")
    if processor.resample not in INTERPOLATIONS:
        raise _unsupported_error(
            folder, f"resample {processor.resample} has no counterpart on tensors"
        )
    normalises = "do_normalize" in steps
    image_size, share, mode = _sizes(folder, processor, "do_center_crop" in steps)
    return ModelInput(
        image_size=image_size,
        mean=tuple(processor.image_mean) if normalises else (0.0, 0.0, 0.0),
        std=tuple(processor.image_std) if normalises else (1.0, 1.0, 1.0),
        interpolation=INTERPOLATIONS[processor.resample],
        crop_pct=share,
        crop_mode=mode,
    )


def tokenizer_of(folder: Path) -> Any:
    """Load the tokenizer of a checkpoint; KeeprateError where it has none."""
    transformers = import_transformers()
    try:
        with quietly():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # damaged files make transformers raise nearly anything
        raise KeeprateError(
            f"Cannot load a tokenizer from '{folder}': {first_line(error)}."
        ) from error
    files = sorted({*tokenizer.vocab_files_names.values(), "tokenizer.json"})
    # without any of them transformers returns a tokenizer with an empty vocabulary
    if not any((folder / file).is_file() for file in files):
        raise KeeprateError(f"'{folder}' holds no tokenizer (none of {', '.join(files)}).")
    return tokenizer


def _load_processor(folder: Path) -> Any:
    """Load the image processor of a checkpoint; KeeprateError where it has none."""
    transformers = import_transformers()
    if not (folder / PREPROCESSOR).is_file():
        raise KeeprateError(
            f"'{folder}' holds no {PREPROCESSOR}, which says how its images are prepared."
        )
    try:
        with quietly():
            return transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # damaged files make transformers raise nearly anything
        raise KeeprateError(
            f"Cannot read '{folder / PREPROCESSOR}': {first_line(error)}."
        ) from error


def _sizes(folder: Path, processor: Any, crops: bool) -> tuple[tuple[int, int], float, str]:
    """Return the size that is cut out, its share of the size resized to, and the crop mode.

    Raises KeeprateError for sizes that a `ModelInput` cannot express.
    """
    size = {key: value for key, value in dict(processor.size).items() if value is not None}
    crop = processor.crop_size if crops else processor.size
    cut = crop.height, crop.width
    if None in cut:
        raise _unsupported_error(folder, f"size {size} gives images of different sizes")
    problem = _unsupported_error(folder, f"size {size} with {cut[0]} x {cut[1]} pixels cut out")
    if set(size) == {"shortest_edge"}:
        goal, mode = (size["shortest_edge"], size["shortest_edge"]), "center"
    elif set(size) == {"height", "width"}:
        goal, mode = (size["height"], size["width"]), "squash"
    else:
        raise problem
    share = share_of(cut[0], goal[0])
    # "center" sets the shorter side alone, so it cannot give an oblong image
    if share > 1 or (mode == "center" and cut[0] != cut[1]):
        raise problem
    # one share serves both sides: the width must come out right by the share of the height
    if math.floor(cut[1] / share) != goal[1]:
        raise problem
    return cut, share, mode


def _unsupported_error(folder: Path, what: str) -> KeeprateError:
    return KeeprateError(f"The images of '{folder}' cannot be prepared as it asks: {what}.")


INSTALL = "pip install 'keeprate[huggingface]'"


def import_transformers() -> Any:
    """Import transformers; where it is missing, a KeeprateError says how to install it."""
    # imported late: the package is optional, and slow to import
    try:
        return import_module("transformers")
    except ImportError as error:
        raise KeeprateError(
            f"Models named {PREFIX}... need the package transformers: {INSTALL}."
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers' advice and progress bars off the screen."""
    logging = import_transformers().utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
