"""The method of docs/trained_methods.md keeps its promises and ranks by its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import keeprate
from docs_factory import blocks, write_files
from keeprate import Attention, KeeprateError, Method, Needs, Stage, Tokens
from keeprate.testing import Verdict
from keeprate.testing.cases import MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method
from references.tiny import tiny_vit

pytestmark = pytest.mark.usefixtures("own_registry", "own_folder")
CHANNELS, STAGES = 24, 3


@pytest.fixture
def method() -> type[Method]:
    write_files(blocks("trained_methods.md"))
    return subject_of("trained_line.py").cls


def trained(channels: int = CHANNELS) -> Path:
    """A checkpoint of a method for this many channels."""
    torch.manual_seed(0)
    path = Path(f"{channels}.safetensors")
    save_file({f"rank.{stage}.channel": torch.randn(channels) for stage in range(STAGES)}, path)
    return path


def test_the_method_keeps_its_promises(method: type[Method]) -> None:
    subject = subject_of(method, {"weights": trained()})
    tried = ("described", "reads", "returns", "counts", "overhead")
    verdict = Verdict("it", tuple(run_method(subject, tried, MAIN_KINDS[:1])))
    assert verdict.holds, str(verdict)


def test_it_ranks_by_the_sum_of_each_channel_times_its_weight(method: type[Method]) -> None:
    file = trained()
    x = torch.randn(2, 5, CHANNELS, dtype=torch.float64)
    one = torch.ones(2, 5)
    tokens = Tokens(x, one, num_prefix=1, has_class_token=True, image=torch.arange(2), owner=one)
    attention = Attention(x, x, x, 1.0, None, x, Needs.NOTHING)
    score = method(weights=file).score(tokens, attention, Stage(0, 2, 12, number=1))
    line = load_file(file)["rank.1.channel"].tolist()
    for image in range(2):
        for token in range(5):
            written = sum(a * b for a, b in zip(x[image, token].tolist(), line, strict=True))
            assert score[image, token].item() == pytest.approx(written, rel=1e-9)


def test_a_file_for_another_model_and_too_many_stages_are_refused(method: type[Method]) -> None:
    model = tiny_vit()
    with pytest.raises(KeeprateError, match="its weights are for 25 channels, not 24"):
        keeprate.reduce(model, method, "6@1", weights=trained(CHANNELS + 1))
    with pytest.raises(KeeprateError, match="its weights are for 3 stages, not 4"):
        keeprate.reduce(model, method, "9@0,8@1,7@2,6@3", weights=trained())
