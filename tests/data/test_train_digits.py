"""The script that trains the shipped classifiers still trains, and repeats itself."""

from __future__ import annotations

import runpy
from itertools import islice
from typing import Any

import pytest
import torch

from keeprate_datasets import digits
from paths import ROOT


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts/train_digits.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "cluttered-digits"])
def test_training_learns_and_repeats(
    script: dict[str, Any], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    training = script["TRAININGS"][name](0.01)
    recipe = training.recipe._replace(steps=12, warm_up_steps=2, steps_a_line=4)
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        batches = islice(training.batches(), 12)
        losses.append(script["train"](training.model(), batches, recipe))
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    assert "step 12/12" in capsys.readouterr().out


def test_augmentation_keeps_the_shape_and_changes_every_image(script: dict[str, Any]) -> None:
    pixels = torch.zeros(4, 3, 32, 32)
    pixels[:, :, 8:24, 12:20] = 1
    changed = script["augmented"](pixels, max_shift=0.15, max_noise=0.15)
    assert changed.shape == pixels.shape
    assert ((changed - pixels).abs().amax((1, 2, 3)) > 0.01).all()
    assert (changed.mean((1, 2, 3)) - pixels.mean()).abs().max() < 0.1


def test_an_image_of_full_size_gets_the_logits_of_the_model_itself(script: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = digits.new_classifier().double().eval()
    images = torch.randn(2, 3, 32, 32).double()
    torch.testing.assert_close(script["logits_at"](model, images, (0, 0)), model(images))


def test_a_smaller_image_gets_its_part_of_the_table_of_positions(script: dict[str, Any]) -> None:
    torch.manual_seed(0)
    large, small = digits.new_classifier(32).eval(), digits.new_classifier(16).eval()
    weights = large.state_dict()
    table = weights["pos_embed"][:, 1:].unflatten(1, (8, 8))[:, 3:7, 2:6]
    positions = torch.cat([weights["pos_embed"][:, :1], table.flatten(1, 2)], dim=1)
    small.load_state_dict({**weights, "pos_embed": positions})
    images = torch.randn(2, 3, 16, 16)
    logits = script["logits_at"](large, images, (3, 2))
    torch.testing.assert_close(logits, small(images), rtol=1e-4, atol=1e-5)


def test_a_resampled_table_keeps_the_class_token_and_what_does_not_change(
    script: dict[str, Any],
) -> None:
    table = torch.full((1, 1 + 64, 5), 3.0)
    table[:, 0] = 7.0
    larger = script["resampled"](table, (14, 14))
    assert larger.shape == (1, 1 + 196, 5)
    assert (larger[:, 0] == 7).all()
    torch.testing.assert_close(larger[:, 1:], torch.full((1, 196, 5), 3.0))


def test_images_grow_to_the_whole_and_clutter_with_them(script: dict[str, Any]) -> None:
    training = script["TRAININGS"]["cluttered-digits"](96 / 24_000)  # 3, 3, 3 and 15 steps
    batches = list(training.batches())
    sizes = [batch.pixels.shape[-1] for batch in batches]
    assert sizes == [32] * 3 + [40] * 3 + [48] * 3 + [56] * 15
    assert len(batches) == training.recipe.steps
    assert all(batch.corner == (0, 0) for batch in batches[-15:])
    assert training._clutter(1.0, 1.0) == (6, 16, 48, 16, 4)
    assert training._clutter(0.0, 64 / 196) == (0, 1, 12, 4, 4)
