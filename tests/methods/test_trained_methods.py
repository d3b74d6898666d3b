"""Methods with trained layers: they equal written-out loops, and files that do not fit are told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import keeprate
from keeprate import KeeprateError, Shape, Stage
from keeprate.backbones.loading.checkpoints import read_shapes, read_weights
from keeprate.backbones.lookup import adapt
from keeprate.plugins.registry import registry
from keeprate.reduction.suitability import suits
from keeprate.results.records import RunInfo
from keeprate.study.build import prepare
from keeprate.testing.cases import MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method
from keeprate_methods.dtem import DTEM
from keeprate_methods.dynamicvit import DynamicViT
from keeprate_methods.patch_merger import PatchMerger
from keeprate_methods.sinkhorn import Sinkhorn, plan
from keeprate_methods.sit import SiT
from keeprate_methods.tome import ToMe
from references import trained as slow
from references.tiny import images_for, random_attention, random_tokens, tiny_vit
from run_factory import request
from weights_factory import random_layers, weights_file

TRAINED = [name for name, each in registry().methods.items() if each.cls.requires_weights]


def layer_of(cls: Any, number: int, **options: Any) -> Mapping[str, Tensor]:
    """Return a layer of `random_layers` in float64, under its own names."""
    start, layers = f"{cls.weights_prefix}{number}.", random_layers(cls, **options)
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
    outcomes = run_method(subject_of(name), ["described", "counts"], MAIN_KINDS[:1])
    assert [(each.status, each.said) for each in outcomes] == [
        ("kept", message),
        ("not asked", message),
    ]


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
    assert not suits(adapt(tiny_vit()), DynamicViT(path))
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


def test_a_model_leaves_the_layers_of_methods_to_them_and_says_so(tmp_path: Path) -> None:
    """One checkpoint serves both: the model's weights and the method's."""
    model, path = tiny_vit(), tmp_path / "checkpoint.pth"
    own = model.state_dict()
    torch.save({"model": {**own, **random_layers(SiT), "other.weight": torch.ones(1)}}, path)
    shapes, told = read_shapes(path, model)
    assert shapes.keys() - own.keys() == {"other.weight"}
    assert told[0].startswith(
        "Left out of 'checkpoint.pth', since it is beside the model there: clu"
    )
    assert read_weights(path, own=own.keys()).keys() - own.keys() == {"other.weight"}


def test_another_layer_computes_at_each_stage(tmp_path: Path) -> None:
    method = DynamicViT(weights_file(tmp_path, DynamicViT, channels=6))
    tokens = random_tokens(1, 7)
    scores = [
        method.score(tokens, random_attention(tokens), Stage(3, 4, 12, number=number))
        for number in range(2)
    ]
    assert not torch.equal(*scores)


def run_of(path: Path) -> RunInfo:
    comparison = prepare(request([("dynamicvit", {"weights": str(path)}, "40@3")], limit=1))
    assert comparison.unknown_code == []
    return comparison.jobs[1].info


def test_the_content_of_the_file_counts_in_a_run_s_id_and_its_place_does_not(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = weights_file(tmp_path, DynamicViT, channels=64)
    run, moved = run_of(path), run_of(weights_file(elsewhere, DynamicViT, channels=64))
    assert run.id == moved.id
    assert moved.parameters == {"weights": str(elsewhere / path.name)}
    layers = random_layers(DynamicViT, 64)
    layers["score_predictor.1.in_conv.0.bias"] += 1.0
    save_file(layers, path)
    assert run_of(path).id != run.id


def test_the_predictor_s_cost_is_that_of_its_layers(tmp_path: Path) -> None:
    method = DynamicViT(weights_file(tmp_path, DynamicViT))
    per_token = 24 * 24 + 12 * 24 + 12 * 12 + 2 * 12
    assert method.overhead_macs(Shape(25, 1, 3, 8, 24), Stage(0, 18, 4)) == 25 * per_token


MIXING = {SiT: slow.sit, PatchMerger: slow.patch_merger, Sinkhorn: slow.sinkhorn}


@pytest.mark.parametrize("cls", MIXING)
@pytest.mark.parametrize("prefix", [0, 2])
def test_mixtures_equal_the_slow_reference(tmp_path: Path, cls: Any, prefix: int) -> None:
    tokens = random_tokens(2, 7, prefix=prefix, trace=True)
    method = cls(weights_file(tmp_path, cls, channels=6, counts=(5, 3)))
    after = method.reduce(tokens, random_attention(tokens), Stage(8, 3, 12, number=1))
    assert torch.equal(after.x[:, :prefix], tokens.x[:, :prefix])
    layer = layer_of(cls, 1, channels=6, counts=(5, 3))
    for image in range(2):
        expected = MIXING[cls](tokens.x[image, prefix:].tolist(), layer)
        for found, row in zip(after.x[image, prefix:].tolist(), expected, strict=True):
            assert found == pytest.approx(row, abs=1e-12)
    # of 7 patches the new tokens stand for 2, 2 and 3 in a row
    assert after.size[:, prefix:].tolist() == [[2.0, 2.0, 3.0]] * 2
    assert (after.owner - prefix).tolist() == [[0, 0, 1, 1, 2, 2, 2]] * 2


def alike(*rows: tuple[float, ...]) -> keeprate.Tokens:
    return keeprate.Tokens.of(torch.tensor([rows], dtype=torch.float64))


def test_sit_and_patchmerger_take_the_mean_where_nothing_tells_tokens_apart(tmp_path: Path) -> None:
    tokens = alike((1.0, 3.0), (3.0, 7.0), (5.0, -1.0))
    for cls, mean in ((SiT, [3.0, 3.0]), (PatchMerger, [-1 / 3, 1 / 3])):
        layer = {name: torch.zeros_like(each) for name, each in random_layers(cls, 2, (1,)).items()}
        if cls is PatchMerger:  # the norm makes of each token -1 and 1, or 1 and -1
            layer["cluster_layers.0.norm.weight"] += 1.0
        save_file(layer, tmp_path / "w.safetensors")
        method = cls(tmp_path / "w.safetensors")
        after = method.reduce(tokens, random_attention(tokens), Stage(2, 1, 12))
        assert after.x[0, 0].tolist() == pytest.approx(mean, abs=1e-5)


def test_sinkhorn_shares_out_every_token_and_gives_centres_alike() -> None:
    # one token leans to the first centre, the other to the second: hand-computed e / (1 + e)
    found = plan(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64))
    share = 2.718281828459045 / 3.718281828459045
    expected = torch.tensor([[[share, 1 - share], [1 - share, share]]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    cosine = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    balanced = plan(cosine)
    torch.testing.assert_close(balanced.sum(dim=1), torch.ones(2, 8, dtype=torch.float64))
    torch.testing.assert_close(
        balanced.sum(dim=2), torch.full((2, 3), 8 / 3).double(), rtol=1e-4, atol=0
    )


def test_a_schedule_that_the_weights_do_not_leave_is_refused_with_the_one_that_they_do(
    tmp_path: Path,
) -> None:
    path = weights_file(tmp_path, SiT)
    for schedule, kept, block in (("18@0,12@2", 12, 2), ("17@0,11@2,5@3", 17, 0)):
        layer = {0: 0, 2: 1}[block]
        last = ",8@3" if "@3" in schedule else ""
        assert refusal({"weights": path}, schedule, "sit") == (
            f"Method 'sit' leaves {(18, 11)[layer]} patch tokens by 'cluster_layers.{layer}' in "
            f"'{path}', and the schedule {kept} at block {block}: write schedule 18@0,11@2{last}."
        )
    with pytest.raises(KeeprateError, match=r"schedule 11 at block 1: write schedule 18@1,11@2\.$"):
        keeprate.reduce(tiny_vit(), "sit", budget="70%", weights=path)
    reduced = keeprate.reduce(tiny_vit(), "sit", "18@0,11@1,8@2", weights=path)
    assert reduced.costs().overhead == 12 * (
        25 * (24 + 18) + 18 * (24 + 11) + 11 * (24 + 8)
    ) + 24 * (25 * 18 + 18 * 11 + 11 * 8)


def test_dtem_merges_as_tome_does_whose_keys_are_the_trained_embedding(tmp_path: Path) -> None:
    tokens = random_tokens(2, 9, sizes=True, trace=True)
    attention, stage = random_attention(tokens), Stage(1, 6, 12)
    after = DTEM(weights_file(tmp_path, DTEM, channels=6)).reduce(tokens, attention, stage)
    layer = layer_of(DTEM, 1, channels=6)
    embedded = [[slow.linear(row, layer, "") for row in rows] for rows in attention.x_pre.tolist()]
    keys = torch.tensor(embedded, dtype=torch.float64)[:, None]  # one head
    expected = ToMe().reduce(tokens, replace(attention, k=keys), stage)
    assert torch.equal(after.owner, expected.owner)
    torch.testing.assert_close(after.x, expected.x, rtol=0, atol=1e-13)
    assert not torch.equal(after.owner, ToMe().reduce(tokens, attention, stage).owner)


def test_dtem_merges_the_two_tokens_that_its_map_makes_alike(tmp_path: Path) -> None:
    """The map keeps the second feature alone; by the first one, others would merge."""
    save_file({"0.weight": torch.tensor([[0.0, 1.0]]), "0.bias": torch.zeros(1)}, tmp_path / "w.pt")
    tokens = alike((1.0, 1.0), (1.0, -1.0), (-4.0, -2.0), (-4.0, 3.0))
    attention = replace(random_attention(tokens), x_pre=tokens.x)
    after = DTEM(tmp_path / "w.pt").reduce(tokens, attention, Stage(0, 3, 12))
    assert after.x[0].tolist() == [[-4.0, -2.0], [1.0, -1.0], [-1.5, 2.0]]


def test_dtem_needs_a_map_for_each_block_it_acts_in(tmp_path: Path) -> None:
    path = weights_file(tmp_path, DTEM, counts=(1, 1, 1))
    assert refusal({"weights": path}, "r=2", "dtem") == (
        f"Method 'dtem' has no layer '3' in '{path}' for the stage at block 3: the last is '2'; "
        "end there."
    )
    costs = keeprate.reduce(tiny_vit(), "dtem", "22@2", weights=path).costs()
    assert costs.overhead == 26 * 12 * 24 + 13 * 13 * 12 + 3 * 24
