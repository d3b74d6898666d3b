"""The class names that a timm configuration states, in the order of the model's outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub

from ...errors import KeeprateError

CONFIG = "config.json"


def label_names_of(config: Mapping[str, Any], num_classes: int) -> list[str] | None:
    """Return the class names in timm's description of a model, None where it has none.

    They are under `label_names`, `labels` in older ones, as a list or by index. Names for another
    number of classes than the description's own belong to a head that was replaced, and count as
    none. Raises KeeprateError for names that are not one for each class.
    """
    names = config.get("label_names") or config.get("labels")
    descriptions = config.get("label_descriptions")
    if not names and not descriptions:
        return None
    # without names, descriptions have an order only where they are given by index
    found = in_order(names or descriptions)
    if found is not None and len(found) == num_classes:
        return found
    if config.get("num_classes", num_classes) != num_classes:
        return None
    stated = "label_names" if names else "label_descriptions alone"
    raise KeeprateError(
        f"The model's configuration ({CONFIG}, pretrained_cfg) has {stated}, which are no names of "
        f"its {num_classes} classes in their order: give it label_names, a list."
    )


def in_order(names: object) -> list[str] | None:
    """Return class names, given as a list or by index from 0, in order; None where they have none.

    Indices may be texts, as JSON has them.
    """
    if isinstance(names, Mapping):
        by_index = {str(index): name for index, name in names.items()}
        indices = [str(index) for index in range(len(by_index))]
        return [str(by_index[i]) for i in indices] if by_index.keys() == set(indices) else None
    is_list = isinstance(names, Sequence) and not isinstance(names, str)
    return [str(name) for name in names] if is_list else None  # type: ignore[attr-defined]


def older_labels(name: str) -> dict[str, Any]:
    """Return the class names that only older versions of timm read from a model's config.json.

    `name` is `local-dir:FOLDER` or `hf-hub:PAGE`; the result is an overlay of timm's description,
    empty for other names and where timm finds the names itself. Raises what reading a file raises.
    """
    source, _, location = name.partition(":")
    if not location:
        return {}
    if source == "local-dir":
        path = Path(location) / CONFIG
    else:
        page, _, revision = location.partition("@")
        path = Path(huggingface_hub.hf_hub_download(page, CONFIG, revision=revision or None))
    stated = json.loads(path.read_text(encoding="utf-8"))
    inner = stated.get("pretrained_cfg", {})
    found_by_timm = "label_names" in stated or "label_names" in inner
    return {} if found_by_timm or "labels" not in stated else {"label_names": stated["labels"]}
