"""The class names that a model's configuration states are read in every spelling, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
from torch import nn

from keeprate import KeeprateError
from keeprate.backbones.loading.load import outline
from keeprate.backbones.loading.loaded import LoadedModel, classes_of

NAMES = ["b", "c", "a"]
BY_INDEX = {"2": "a", "0": "b", "1": "c"}
Change = Callable[[dict[str, Any]], dict[str, Any]]


def saved(folder: Path, change: Change) -> LoadedModel:
    """A model of three classes from a folder whose config.json was changed."""
    model = timm.create_model("test_vit", num_classes=3)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    config = folder / "config.json"
    config.write_text(json.dumps(change(json.loads(config.read_text()))))
    return outline(f"local-dir:{folder}")


def legacy(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as older versions of timm wrote it, in one mapping."""
    rest = {**config["pretrained_cfg"], "num_classes": 3, "labels": NAMES}
    return {"architecture": config["architecture"], "num_features": 64, **rest}


def inside(**values: object) -> Change:
    return lambda config: {**config, "pretrained_cfg": {**config["pretrained_cfg"], **values}}


READ: dict[str, Change] = {
    "label_names": lambda config: {**config, "label_names": NAMES},
    "label_names by index": lambda config: {**config, "label_names": BY_INDEX},
    "label_names of pretrained_cfg": inside(label_names=NAMES),
    "label_descriptions by index": lambda config: {**config, "label_descriptions": BY_INDEX},
    "labels": lambda config: {**config, "labels": NAMES},
    "labels by index": lambda config: {**config, "labels": BY_INDEX},
    "labels of a single mapping": legacy,
}


@pytest.mark.parametrize("spelling", READ)
def test_class_names_are_read_in_the_order_of_the_outputs(spelling: str, tmp_path: Path) -> None:
    assert classes_of(saved(tmp_path, READ[spelling])) == (3, NAMES)


REFUSED: dict[str, tuple[Change, str]] = {
    "too few": (inside(label_names=["b", "a"]), "has label_names, which are no names of its 3"),
    "a hole": (inside(label_names={"0": "b", "2": "a"}), "has label_names, which are no names"),
    "a text": (inside(label_names="bca"), "has label_names, which are no names of its 3"),
    "indices by name": (inside(label_names={"b": 0, "c": 1, "a": 2}), "has label_names, which"),
    "descriptions alone": (
        lambda config: {**config, "label_descriptions": {"b": "bee"}},
        "has label_descriptions alone, which are no names of its 3 classes in their order",
    ),
    "no key of timm's": (inside(labels=NAMES), "timm cannot read pretrained_cfg in the config"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_names_that_are_not_one_for_each_class_are_refused(mistake: str, tmp_path: Path) -> None:
    change, said = REFUSED[mistake]
    with pytest.raises(KeeprateError, match=said) as refused:
        classes_of(saved(tmp_path, change))
    assert "label_names" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_of_a_head_that_was_replaced_do_not_count() -> None:
    model = timm.create_model("test_vit", num_classes=3)
    model.pretrained_cfg = {**model.pretrained_cfg, "label_names": NAMES, "num_classes": 3}
    assert classes_of(LoadedModel(model, "m", "given", "")) == (3, NAMES)
    model.reset_classifier(2)
    assert classes_of(LoadedModel(model, "m", "given", "")) == (2, None)


@pytest.mark.parametrize("names", [{0: "x", 2: "y"}, {1: "x", 2: "y"}])
def test_a_transformers_model_names_every_class(names: dict[int, str]) -> None:
    model: Any = nn.Identity()
    model.config = SimpleNamespace(id2label=names, num_labels=2)
    with pytest.raises(KeeprateError, match="'m': id2label must name every class, from 0 on"):
        classes_of(LoadedModel(model, "m", "given", ""))
