"""Methods with trained layers: they equal written-out loops, and files that do not fit are told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import keeprate
from keeprate import KeeprateError, Method, Shape, Stage
from keeprate.backbones.lookup import adapt
from keeprate.plugins.code.code_hash import hash_code
from keeprate.plugins.parameters import build
from keeprate.plugins.registry import registry
from keeprate.reduction.plan import suits
from keeprate.testing import check
from keeprate_methods.dynamicvit import DynamicViT
from references import trained as slow
from references.tiny import images_for, random_attention, random_tokens, tiny_vit
from weights_factory import random_layers, weights_file

TRAINED = [name for name, each in registry().methods.items() if each.cls.requires_weights]


def layer_of(cls: Any, number: int, **options: Any) -> Mapping[str, Tensor]:
    """Return a layer of `random_layers` in float64, under its own names."""
    start, layers = f"{cls.prefix}{number}.", random_layers(cls, **options)
    own = {
        name.removeprefix(start): each
        for name, each in layers.items()
        if start in name[: len(start)]
    }
    return {name: each.double() for name, each in own.items()}


@pytest.mark.parametrize("prefix", [0, 2])
def test_dynamicvit_equals_the_slow_reference(tmp_path: Path, prefix: int) -> None:
    tokens = random_tokens(2, 7, prefix=prefix)
    method = DynamicViT(weights_file(tmp_path, DynamicViT, channels=6))
    stage = Stage(8, 3, 12, number=1)
    score = method.score(tokens, random_attention(tokens), stage)
    assert not score[:, :prefix].any()
    for image in range(2):
        rows = tokens.x[image, prefix:].tolist()
        expected = slow.dynamicvit(rows, layer_of(DynamicViT, 1, channels=6))
        assert score[image, prefix:].tolist() == pytest.approx(expected, abs=1e-13)


def test_dynamicvit_keeps_what_its_first_output_prefers(tmp_path: Path) -> None:
    """A predictor that passes the first feature on: larger ones are kept."""
    layer = {
        name: torch.zeros_like(each) for name, each in random_layers(DynamicViT, 2, (1,)).items()
    }
    for name in ("in_conv.0", "in_conv.1", "out_conv.0", "out_conv.2", "out_conv.4"):
        layer[f"score_predictor.0.{name}.weight"].view(-1)[0] = 1.0
    path = tmp_path / "w.safetensors"
    save_file(layer, path)
    x = torch.tensor([[[9.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.3, 0.0]]])
    tokens = keeprate.Tokens.of(x, num_prefix=1, has_class_token=True)
    score = DynamicViT(path).score(tokens, random_attention(tokens), Stage(2, 1, 12))
    # a layer norm makes of two features -1 and 1, whatever their distance: 0.3 a little less
    assert score[0, 2] > score[0, 3] > score[0, 1]
    # GELU four times of 1, in a layer norm's epsilon: 1 - log(e^x + e^0), hand-computed
    value = 1 / (1 + 4e-5) ** 0.5
    for _ in range(3):
        value = slow.gelu(value)
    assert float(score[0, 2]) == pytest.approx(
        value - torch.tensor(value).exp().log1p().item(), abs=1e-6
    )


@pytest.mark.parametrize("name", TRAINED)
def test_a_method_without_its_weights_says_so_and_is_left_out(name: str) -> None:
    message = (
        f"Method '{name}' needs weights=FILE: the checkpoint of a model that was trained with it."
    )
    with pytest.raises(KeeprateError, match=f"^{re.escape(message)}$"):
        keeprate.reduce(tiny_vit(), name, "keep=0.7@1")
    # `keeprate compare` without methods runs those that suit the model
    assert not suits(adapt(tiny_vit()), registry().method(name)())
    verdict = check(name, only=["described", "counts"])
    assert verdict.holds
    assert verdict["counts"].said == message


def refusal(
    values: Mapping[str, object], schedule: str = "18@0,11@2", name: str = "dynamicvit"
) -> str:
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(tiny_vit(), name, schedule, **values)
    return str(refused.value)


def test_a_file_that_is_missing_or_holds_no_layers_is_told(tmp_path: Path) -> None:
    missing, other, jax = (tmp_path / name for name in ("none.pth", "other.pth", "x.npz"))
    assert refusal({"weights": missing}) == f"Method 'dynamicvit': No weights file '{missing}'."
    torch.save({"model": {"norm.weight": torch.ones(2), "head.weight": torch.ones(2, 2)}}, other)
    assert refusal({"weights": other}) == (
        f"Method 'dynamicvit': '{other}' holds no 'score_predictor.0.in_conv.0.weight', but "
        "head.weight, norm.weight: give the checkpoint of a model that was trained with this method"
    )
    import numpy as np

    np.savez(jax, x=np.ones(2))
    assert "give .safetensors or a PyTorch checkpoint" in refusal({"weights": jax})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"score_predictor.1.out_conv.4.bias": None}, "1 missing (out_conv.4.bias)"),
        (
            {"score_predictor.1.in_conv.1.weight": torch.ones(24, 23)},
            "1 of another shape (in_conv.1.weight (24, 23) for (24, 24))",
        ),
        ({"score_predictor.1.out_conv.6.bias": torch.ones(2)}, "1 unexpected (out_conv.6.bias)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, change: dict[str, Tensor | None], reason: str
) -> None:
    path = tmp_path / "w.safetensors"
    layers = {**random_layers(DynamicViT), **change}
    save_file({name: each for name, each in layers.items() if each is not None}, path)
    found = refusal({"weights": path})
    assert found == f"Method 'dynamicvit': '{path}' does not fit at 'score_predictor.1': {reason}"


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    path, name = tmp_path / "w.safetensors", "score_predictor.0.in_conv.0.bias"
    save_file({**random_layers(DynamicViT), name: torch.ones(24, dtype=torch.int8)}, path)
    said = f"'{path}' has torch.int8 at '{name}', not floating-point"
    assert refusal({"weights": path}) == f"Method 'dynamicvit': {said}"


def test_weights_for_other_channels_or_fewer_stages_are_refused_before_a_run(
    tmp_path: Path,
) -> None:
    path = weights_file(tmp_path, DynamicViT, channels=32)
    assert refusal({"weights": path}) == (
        f"Method 'dynamicvit' has weights for tokens of 32 channels, in '{path}', and this model's "
        "have 24: give those trained with this model."
    )
    path = weights_file(tmp_path, DynamicViT, counts=(1,))
    assert refusal({"weights": path}) == (
        f"Method 'dynamicvit' has no layer 'score_predictor.1' in '{path}' for the stage at block "
        "2: the last is 'score_predictor.0'; end there."
    )
    # a stage that removes nothing needs no layer
    keeprate.reduce(tiny_vit(), "dynamicvit", "18@0,18@2", weights=path)


def test_the_layers_are_found_among_a_model_s_own_weights_in_a_checkpoint(tmp_path: Path) -> None:
    model, path = tiny_vit(), tmp_path / "checkpoint.pth"
    plain = weights_file(tmp_path, DynamicViT)
    content = {**model.state_dict(), **random_layers(DynamicViT)}
    torch.save(
        {"model": {f"module.{name}": each for name, each in content.items()}, "epoch": 3}, path
    )
    logits = [
        keeprate.reduce(model, "dynamicvit", "18@0,11@2", weights=each)(images_for(model))
        for each in (plain, path)
    ]
    assert torch.equal(*logits)


def test_another_layer_computes_at_each_stage(tmp_path: Path) -> None:
    method = DynamicViT(weights_file(tmp_path, DynamicViT, channels=6))
    tokens = random_tokens(1, 7)
    scores = [
        method.score(tokens, random_attention(tokens), Stage(3, 4, 12, number=number))
        for number in range(2)
    ]
    assert not torch.equal(*scores)


def test_the_content_of_the_file_counts_in_a_run_s_id(tmp_path: Path) -> None:
    """The same path with other weights is another run, the same weights are the same run."""
    hashes = []
    for channels in (24, 24, 26):
        path = weights_file(tmp_path, DynamicViT, channels=channels)
        method: Method = build("method", DynamicViT, {"weights": str(path)})
        found = hash_code(method)
        assert found.unknown == ()
        hashes.append(found.sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_predictor_s_cost_is_that_of_its_layers(tmp_path: Path) -> None:
    method = DynamicViT(weights_file(tmp_path, DynamicViT))
    per_token = 24 * 24 + 12 * 24 + 12 * 12 + 2 * 12
    assert method.overhead_macs(Shape(25, 1, 3, 8, 24), Stage(0, 18, 4)) == 25 * per_token
