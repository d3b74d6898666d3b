"""The proof before the first reduction: once per kind of model, on any device, leaving no trace."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

import keeprate
from battery import randomised
from keeprate import KeeprateError, Needs, Place
from keeprate.backbones.lookup import adapt
from keeprate.backbones.timm.vit import TimmViT
from keeprate.reduction import proof
from keeprate.reduction.masked_model import masked_logits
from keeprate.reduction.plan import make_plan
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.request import DataSpec, ModelSpec, Options, Request
from keeprate.study.build import prepare

SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 2}


@pytest.fixture(autouse=True)
def _unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_FOUND", {})


def small(**options: object) -> nn.Module:
    made = timm.create_model("vit_tiny_patch16_224", num_classes=5, **{**SMALL, **options})
    return randomised(made).eval()


def proofs(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    proved: list[nn.Module] = []
    original = proof._objection
    monkeypatch.setattr(
        proof, "_objection", lambda backbone: proved.append(backbone.model) or original(backbone)
    )
    return proved


def test_a_kind_of_model_is_proved_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    proved = proofs(monkeypatch)
    for model in (small(), small(), small(qkv_bias=True)):
        keeprate.reduce(model, "tome", "r=1")
    assert len(proved) == 1
    keeprate.reduce(small(class_token=False, global_pool="avg"), "tome", "r=1")
    keeprate.reduce(small().to(torch.bfloat16), "tome", "r=1")
    assert len(proved) == 3


def test_a_reduced_model_is_made_without_running_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    proved, called = proofs(monkeypatch), []
    backbone = adapt(small())
    for module in backbone.model.modules():
        module.register_forward_pre_hook(lambda module, _: called.append(module))
    plan = make_plan(backbone, proof.Probe(Place.AFTER_BLOCK, Needs.KEYS), "keep=0.5@0", None)
    assert ReducedModel(backbone, plan).plan is plan
    assert (proved, called) == ([], [])


def test_what_a_study_builds_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    proved = proofs(monkeypatch)
    request = Request(ModelSpec(), DataSpec("digits"), (), Options(limit=2))
    model = prepare(request).loaded.model
    assert proved == [model]


def test_shapes_alone_are_not_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    proved = proofs(monkeypatch)
    assert keeprate.reduce(small().to("meta"), "tome", "r=1").costs().total
    assert proved == []


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions_pass(dtype: torch.dtype) -> None:
    keeprate.reduce(small().to(dtype), "tome", "r=1")


def test_a_model_in_training_is_proved_without_dropout_and_left_in_training() -> None:
    model = small(proj_drop_rate=0.5, drop_path_rate=0.5).train()
    model.norm.eval()
    reduced = keeprate.reduce(model, "tome", "r=1")
    assert reduced.model.training
    assert not reduced.model.norm.training
    assert all(block.training for block in reduced.model.blocks)


def test_no_random_state_and_no_hook_is_left_behind() -> None:
    model = small()
    state = torch.get_rng_state()
    reduced = keeprate.reduce(model, "tome", "r=1")
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for module in reduced.model.modules())


def test_a_model_without_finite_logits_is_left_to_the_loop() -> None:
    model = small()
    nn.init.constant_(model.head.weight, torch.nan)
    keeprate.reduce(model, "tome", "r=1")


def wrong(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(TimmViT, method)

    def altered(self: TimmViT, *arguments: object) -> Tensor:
        return 1.01 * original(self, *arguments)

    monkeypatch.setattr(TimmViT, method, altered)


@pytest.mark.parametrize("method", ["embed", "attend", "feed_forward", "classify"])
def test_a_backbone_that_computes_something_else_is_refused_every_time(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong(method, monkeypatch)
    for _ in range(2):
        with pytest.raises(KeeprateError, match="backbone 'timm-vit' does not compute what it"):
            keeprate.reduce(small(), "tome", "r=1")


def test_an_interrupted_proof_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(TimmViT, "embed", lambda self, images: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keeprate.reduce(small(), "tome", "r=1")
    keeprate.reduce(small(), "tome", "r=1")


def test_the_masked_model_takes_no_part_of_what_was_dropped() -> None:
    backbone = adapt(small().double())
    images = backbone.example(2)
    reduced = proof.probed(backbone, "keep=0.5@0")
    with torch.inference_mode():
        reduced(images)
        masked = masked_logits(backbone, images, reduced.survivors)
        plain = backbone.plain(images)
        whole = masked_logits(backbone, images, [])
    assert torch.equal(whole, plain)
    assert proof.relative_error(masked, plain) > 1e-3


def test_a_model_of_a_single_patch_is_proved_as_far_as_it_goes() -> None:
    reduced = keeprate.reduce(small(img_size=4), "tome", "r=1")
    assert reduced(torch.zeros(1, 3, 4, 4)).shape == (1, 5)


def doubled(cls: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(cls, name)
    monkeypatch.setattr(cls, name, lambda *given, **named: 2 * original(*given, **named))


def mixed(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """A hook that mixes all tokens, which no backbone can know of."""
    return output + output.mean(dim=1, keepdim=True)


def refused(model: nn.Module) -> None:
    with pytest.raises(KeeprateError, match="does not compute what it computes"):
        keeprate.reduce(model, "tome", "r=1")


IMAGES = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_code_replaced_after_a_proof_is_refused_until_it_is_put_back() -> None:
    reduced = keeprate.reduce(small(), "tome", "r=1")
    before = reduced(IMAGES)
    for cls, name in ((Block, "forward"), (VisionTransformer, "forward_features")):
        with pytest.MonkeyPatch.context() as patch:
            doubled(cls, name, patch)
            for _ in range(2):
                refused(small())
                with pytest.raises(KeeprateError, match="does not compute what it computes"):
                    reduced(IMAGES)
        assert torch.equal(reduced(IMAGES), before)
        keeprate.reduce(small(), "tome", "r=1")


def test_replaced_code_that_the_backbone_runs_is_run() -> None:
    reduced = keeprate.reduce(small(), "tome", "r=1")
    before = reduced(IMAGES)
    with pytest.MonkeyPatch.context() as patch:
        doubled(Mlp, "forward", patch)
        assert not torch.equal(reduced(IMAGES), before)
    assert torch.equal(reduced(IMAGES), before)


def test_another_fused_attention_is_refused_until_it_is_put_back() -> None:
    reduced = keeprate.reduce(small(), "tome", "r=1")
    with pytest.MonkeyPatch.context() as patch:
        doubled(nn.functional, "scaled_dot_product_attention", patch)
        for attempt in (lambda: reduced(IMAGES), lambda: keeprate.reduce(small(), "tome", "r=1")):
            with pytest.raises(KeeprateError, match="no call of scaled_dot_product_attention"):
                attempt()
    assert reduced(IMAGES).isfinite().all()


@pytest.mark.parametrize("inner", ["blocks", "blocks.1", "blocks.1.attn.qkv"])
def test_a_hook_after_the_proof_is_refused_where_it_would_be_left_out(inner: str) -> None:
    reduced = keeprate.reduce(small(), "tome", "r=1")
    before = reduced(IMAGES)
    handle = reduced.model.get_submodule(inner).register_forward_hook(mixed)
    with pytest.raises(KeeprateError, match=r"never run|does not compute what it computes"):
        reduced(IMAGES)
    handle.remove()
    assert torch.equal(reduced(IMAGES), before)


def test_a_hook_that_would_only_look_is_not_left_out_silently() -> None:
    reduced = keeprate.reduce(small(), "tome", "r=1")
    reduced.model.blocks.register_forward_hook(lambda module, inputs, output: None)
    with pytest.raises(KeeprateError, match=r"Hooks on blocks \(Sequential\), or another forward"):
        reduced(IMAGES)


def test_a_forward_put_into_one_block_is_refused() -> None:
    reduced = keeprate.reduce(small(), "tome", "r=1")
    reduced.model.blocks[1].forward = lambda x: x
    with pytest.raises(KeeprateError, match=r"Hooks on blocks\.1 \(Block\), or another forward"):
        reduced(IMAGES)
    del reduced.model.blocks[1].forward
    reduced(IMAGES)


def test_a_hook_on_all_modules_is_refused_while_it_is_there() -> None:
    reduced = keeprate.reduce(small(), "tome", "r=1")

    def double(module: nn.Module, inputs: Any, output: Any) -> Any:
        return 2 * output if type(module) is Block else None

    handle = nn.modules.module.register_module_forward_hook(double)
    try:
        refused(small())
        with pytest.raises(KeeprateError, match="does not compute what it computes"):
            reduced(IMAGES)
    finally:
        handle.remove()
    assert reduced(IMAGES).isfinite().all()


def test_a_model_is_looked_at_anew_only_where_something_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reduced, proved = keeprate.reduce(small(), "tome", "r=1"), proofs(monkeypatch)
    reduced(IMAGES)
    copied = copy.deepcopy(reduced)
    copied(IMAGES)
    assert proved == []
    copied.model.blocks[1].mlp.register_forward_hook(lambda module, inputs, output: None)
    copied(IMAGES)
    copied(IMAGES)
    reduced(IMAGES)
    assert proved == [copied.model]
    nn.utils.parametrize.register_parametrization(reduced.model.head, "weight", nn.Identity())
    reduced(IMAGES)
    assert proved == [copied.model, reduced.model]


def test_a_model_whose_logits_proved_nothing_is_proved_once_its_code_changes() -> None:
    model = small()
    nn.init.zeros_(model.head.weight)
    reduced = keeprate.reduce(model, "tome", "r=1")
    reduced.model.head.weight.data.normal_()
    with pytest.MonkeyPatch.context() as patch:
        doubled(Block, "forward", patch)
        with pytest.raises(KeeprateError, match="does not compute what it computes"):
            reduced(IMAGES)
