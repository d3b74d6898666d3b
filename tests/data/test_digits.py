"""The digits: a fixed held-out split and a classifier that knows it well."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from keeprate.backbones.loading.loaded import config_of
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.data.images import build_transform
from keeprate.data.samples import ImageSamples
from keeprate.errors import KeeprateError
from keeprate.plugins.registry import load
from keeprate_datasets import digits
from keeprate_datasets.digits import Digits


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    return digits.load_classifier()


def test_the_split_never_changes() -> None:
    held_out = digits.held_out_positions()
    text = ",".join(map(str, held_out))
    assert hashlib.sha256(text.encode()).hexdigest().startswith("672a0ff8bae5183b")
    assert not set(held_out) & set(digits.training_positions())
    assert len(held_out) + len(digits.training_positions()) == 1797


def test_every_digit_is_held_out_as_often() -> None:
    samples = Digits().samples()
    assert Counter(sample.label for sample in samples) == dict.fromkeys(range(10), 60)
    assert len({sample.id for sample in samples}) == 600
    assert all(sample.id.startswith("test/") for sample in samples)


def test_images_are_the_enlarged_originals() -> None:
    image = Digits().image(0)
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.uint8
    corners = np.zeros((1, 8, 8))
    corners[0, 0, 0] = 16
    assert (digits.enlarged(corners)[0, 0, :2, :2] == 255).all()
    assert digits.enlarged(corners)[0, 0, 2, 2] == round(255 * (7 / 8) ** 2)


def test_the_images_fit_the_classifier_unresampled(classifier: nn.Module) -> None:
    transform = build_transform(ModelInput.of(classifier))
    image = Digits().image(3)
    torch.testing.assert_close(transform(image), image / 127.5 - 1)


@pytest.mark.slow
def test_the_classifier_is_right_at_least_96_times_in_100(classifier: nn.Module) -> None:
    data = Digits()
    data.bind(10, config_of(classifier)["label_names"])
    transform = build_transform(ModelInput.of(classifier))
    loader = DataLoader(ImageSamples(data, transform, range(600)), batch_size=100)
    correct = 0
    with torch.inference_mode():
        for images, indices in loader:
            labels = torch.tensor([data.samples()[index].label for index in indices])
            correct += int((classifier(images).argmax(1) == labels).sum())
    assert correct / 600 >= 0.96


def test_the_classifier_has_12_blocks_64_patches_and_a_class_token(classifier: nn.Module) -> None:
    assert classifier.training is False
    assert len(classifier.get_submodule("blocks")._modules) == 12
    assert classifier.get_parameter("pos_embed").shape == (1, 1 + 64, 64)


def test_samples_come_with_their_position(classifier: nn.Module) -> None:
    transform = build_transform(ModelInput.of(classifier))
    items = ImageSamples(Digits(), transform, [5, 2])
    assert len(items) == 2
    assert [items[position][1] for position in range(2)] == [5, 2]


def test_another_head_is_refused() -> None:
    with pytest.raises(KeeprateError, match="has 10 classes, the model's head has 1000"):
        Digits().bind(1000, None)


def test_other_weights_than_those_of_the_log_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "weights_file", lambda name: f"{name}.py")
    with pytest.raises(KeeprateError, match=r"digits\.py is not the file that digits\.json"):
        digits.load_classifier()


def test_one_data_set_that_ships_is_the_default_and_brings_its_classifier() -> None:
    found = load(environ={"KEEPRATE_PLUGINS": ""})
    assert len([offer for offer in found.datasets.values() if offer.cls.is_default]) == 1
    data = found.default_dataset()
    assert data.embedded
    assert data().classifier() is not None


def test_without_a_default_data_set_one_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(environ={"KEEPRATE_PLUGINS": ""})
    monkeypatch.setattr(found.default_dataset(), "is_default", False)
    with pytest.raises(KeeprateError, match=r"^No data set is the default one here: name one with"):
        found.default_dataset()
