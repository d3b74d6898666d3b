"""The script that trains the shipped classifier still trains, and repeats itself."""

from __future__ import annotations

import runpy

import pytest
import torch

from keeprate_datasets import digits
from paths import ROOT

SCRIPT = ROOT / "scripts/train_digits.py"


@pytest.mark.slow
def test_training_learns_and_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(SCRIPT))
    pixels, labels = script["pixels_and_labels"](digits.training_positions()[:32])
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(script["train"](digits.new_classifier(), pixels, labels, 3))
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]
    assert "epoch 3/3" in capsys.readouterr().out


def test_augmentation_keeps_the_shape_and_changes_every_image() -> None:
    augmented = runpy.run_path(str(SCRIPT))["augmented"]
    pixels = torch.zeros(4, 3, 32, 32)
    pixels[:, :, 8:24, 12:20] = 1
    changed = augmented(pixels)
    assert changed.shape == pixels.shape
    assert ((changed - pixels).abs().amax((1, 2, 3)) > 0.01).all()
    assert (changed.mean((1, 2, 3)) - pixels.mean()).abs().max() < 0.1
