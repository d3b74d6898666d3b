"""What a weights file tells of the preprocessing it was made for, besides its weights."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import timm
from safetensors import SafetensorError, safe_open

from .model_input import ModelInput

_RESAMPLE: Final = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which transformers writes."""
_FIELDS: Final = ("mean", "std", "interpolation", "crop_pct")
_TOLERANCE: Final = 2e-3
"""Means are published with three digits."""


@dataclass(frozen=True)
class StatedInput:
    """Fields of a `ModelInput` that a weights file was made for, and where that is written."""

    where: str
    fields: Mapping[str, Any]


def stated_inputs(path: Path, architecture: str) -> tuple[StatedInput, ...]:
    """Return what is written in a weights file, beside it and in its name.

    These are the metadata of safetensors; config.json and preprocessor_config.json in a folder that
    holds no other weights of the kind; and a name of timm's, or the beginning of one, in the file's
    name, unless it is that of the model's own `architecture` without a tag.
    """
    alone = len(list(path.parent.glob(f"*{path.suffix}"))) == 1
    found = [StatedInput("its metadata", _fields(_metadata(path)))]
    if alone:
        config, processor = (
            _read_json(path.with_name(name)) for name in ("config.json", "preprocessor_config.json")
        )
        processor_fields = {
            "mean": processor.get("image_mean"),
            "std": processor.get("image_std"),
            "interpolation": _RESAMPLE.get(processor.get("resample", -1)),
        }
        found += [
            StatedInput("the config.json beside it", _fields(config)),
            StatedInput("the preprocessor_config.json beside it", _fields(processor_fields)),
        ]
    found.append(_in_name(path.stem, architecture))
    return tuple(stated for stated in found if stated.fields)


def input_note(file: str, stated: Sequence[StatedInput], used: ModelInput) -> str | None:
    """Return a line on the first statement that is not about the preprocessing in use, or None."""
    for each in stated:
        theirs = {name: each.fields[name] for name in _FIELDS if name in each.fields}
        ours = {name: getattr(used, name) for name in theirs}
        names = [name for name in theirs if not _equal(theirs[name], ours[name])]
        if names:
            made_for, are = (
                ", ".join(f"{name} {_text(values[name])}" for name in names)
                for values in (theirs, ours)
            )
            options = [f"--{name.replace('_', '-')} {_text(theirs[name])}" for name in names]
            return (
                f"By {each.where}, '{file}' was made for images with {made_for}; used are {are}. "
                f"If that is wrong, give {' '.join(options)}."
            )
    return None


def _metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a safetensors file, of which timm's description comes first."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
    except (SafetensorError, OSError):  # told where the weights are read
        return {}
    return {name: _parsed(text) for name, text in texts.items()}


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `ModelInput` in a configuration, or in its `pretrained_cfg`."""
    inner = config.get("pretrained_cfg")
    source = inner if isinstance(inner, Mapping) else config
    values = {name: source.get(name) for name in _FIELDS}
    return {name: value for name, value in values.items() if _is_sound(name, value)}


def _is_sound(name: str, value: object) -> bool:
    if name in ("mean", "std"):
        is_list = isinstance(value, list | tuple) and len(value) == 3
        return is_list and all(isinstance(part, int | float) for part in value)  # type: ignore[attr-defined]
    return isinstance(value, str if name == "interpolation" else int | float)


def _in_name(stem: str, architecture: str) -> StatedInput:
    """Return in what all models agree that timm has under the name within a file's name."""
    # timm has models for tests, "test_vit"; a file called "test" is none of them
    tagged = [name for name in timm.list_pretrained() if not name.startswith("test_")]
    known = max((name for name in tagged if _holds(stem, name)), key=len, default="")
    own = architecture.partition(".")[0]
    if known:
        models = [known]
    else:
        known = _longest_beginning(stem, tagged)
        models = [name for name in tagged if known and _begins(name, known)]
    # the name of the model's own family, without a tag, tells nothing new
    if not models or ("." not in known and _begins(own, known)):
        return StatedInput("", {})
    configs = [timm.get_pretrained_cfg(name) for name in models]
    each = [_fields(vars(config)) for config in configs if config is not None]
    agreed = {
        name: value
        for name, value in each[0].items()
        if all(name in other and _equal(value, other[name]) for other in each)
    }
    return StatedInput(f"its name ('{known}' of timm)", agreed)


def _longest_beginning(stem: str, names: Sequence[str]) -> str:
    """Return the longest run of words in a file's name with which one of `names` begins."""
    words = [word for word in re.split(r"[^a-z0-9]+", stem.lower()) if word]
    runs = ["_".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
    found = [run for run in runs if any(_begins(name, run) for name in names)]
    return max(found, key=len, default="")


def _begins(name: str, words: str) -> bool:
    """Tell whether a name of timm's begins with these whole words."""
    return re.match(rf"{re.escape(words)}(?![a-z0-9])", name) is not None


def _holds(stem: str, name: str) -> bool:
    return name in stem and re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", stem) is not None


def _equal(a: object, b: object) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    pairs = zip(_numbers(a), _numbers(b), strict=True)
    return all(math.isclose(x, y, abs_tol=_TOLERANCE) for x, y in pairs)


def _numbers(value: Any) -> list[float]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
