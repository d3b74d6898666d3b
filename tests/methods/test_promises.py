"""Promises that hold for every registered method on every kind of backbone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import keeprate
from keeprate import Method
from keeprate.backbones.lookup import adapt
from keeprate.plugins.registry import registry
from keeprate.reduction.reduced_model import ReducedModel
from references.tiny import images_for, tiny_vit, watched

BACKBONES = {
    "class token": "vit_tiny_patch16_224",
    "distillation token": "deit_tiny_distilled_patch16_224",
    "registers": "vit_small_patch14_reg4_dinov2",
    "average pooling": "vit_base_patch16_siglip_gap_224",
    "average pooling, class token": "beit3_base_patch16_224",
    "attention pooling": "vit_base_patch16_siglip_224",
    "rotary embedding": "vit_small_patch16_rope_224",
    "rotary embedding of each head": "vit_small_patch16_rope_mixed_224",
    "table of relative positions": "beit_base_patch16_224",
    "relative positions by an MLP": "vit_relpos_small_patch16_224",
}
MODELS = {kind: tiny_vit(name).double() for kind, name in BACKBONES.items()}


def pairs() -> Iterator[tuple[str, str]]:
    for name, offer in registry().methods.items():
        for kind, model in MODELS.items():
            if adapt(model).has_class_token or not offer.cls.requires_class_token:
                yield name, kind


every_pair = pytest.mark.parametrize(("method", "kind"), list(pairs()))


def built(name: str) -> Method:
    return registry().method(name)()


def reduced_model(name: str, kind: str, **options: object) -> ReducedModel:
    schedule = "18@0,11@2,8@3" if registry().method(name).reduces else None
    return keeprate.reduce(MODELS[kind], built(name), schedule, **options)


def run(model: nn.Module, images: Tensor, index: Tensor | None = None) -> Tensor:
    with torch.inference_mode():
        return model(images) if index is None else model(images, index)


@every_pair
def test_keeping_every_token_is_bit_identical_to_the_plain_model(method: str, kind: str) -> None:
    model = MODELS[kind]
    schedule = "keep=1@0,1,2,3" if registry().method(method).reduces else None
    images = images_for(model)
    reduced = keeprate.reduce(model, method, schedule)
    assert torch.equal(run(reduced, images), run(model, images))
    assert reduced.costs().total == keeprate.macs(model)


@every_pair
def test_tokens_after_a_stage_are_what_the_schedule_says(method: str, kind: str) -> None:
    reduced = reduced_model(method, kind)
    prefix = reduced.backbone.num_prefix
    logits = run(reduced, images_for(MODELS[kind]))
    plain = run(MODELS[kind], images_for(MODELS[kind]))
    assert logits.isfinite().all()
    if reduced.method.reduces:
        assert reduced.token_counts.tolist() == [[prefix + n for n in (18, 18, 11, 8)]] * 3
        assert not torch.allclose(logits, plain)
    else:
        assert reduced.token_counts.tolist() == [[prefix + 25] * 4] * 3
    assert reduced.macs_per_image.total.tolist() == [reduced.costs().total] * 3


@every_pair
def test_prefix_tokens_survive_and_sizes_account_for_every_patch(method: str, kind: str) -> None:
    reduced = reduced_model(method, kind, trace=True)
    with watched(reduced.method) as calls:
        run(reduced, images_for(MODELS[kind]))
    for call in calls:
        prefix = call.tokens.num_prefix
        assert call.after.num_prefix == prefix
        assert torch.equal(call.after.x[:, :prefix], call.tokens.x[:, :prefix])
        assert (call.after.size[:, :prefix] == 1).all()
        assert ((call.after.owner >= prefix) | (call.after.owner == -1)).all()
        total = call.after.size[:, prefix:].sum(dim=1)
        alive = (call.after.owner >= 0).sum(dim=1)
        assert torch.equal(total, alive.float())
        if call.after.has_merged:
            assert (total == 25).all()


@every_pair
def test_an_image_does_not_depend_on_the_rest_of_its_batch(method: str, kind: str) -> None:
    reduced = reduced_model(method, kind, trace=True)
    images = images_for(MODELS[kind], batch=6)
    index = torch.tensor([50, 3, 17, 4, 0, 99])
    together = run(reduced, images, index)
    owners = [survivors.owner for survivors in reduced.survivors]
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    for part in (order, order[:1], order[1:3], order[3:]):
        logits = run(reduced, images[part], index[part])
        torch.testing.assert_close(logits, together[part], rtol=1e-9, atol=1e-9)
        for survivors, owner in zip(reduced.survivors, owners, strict=True):
            assert torch.equal(survivors.owner, owner[part])


@every_pair
def test_the_same_call_gives_the_same_and_leaves_no_trace(method: str, kind: str) -> None:
    images = images_for(MODELS[kind])
    index = torch.tensor([5, 6, 7])
    copies = images.clone(), index.clone()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = run(reduced_model(method, kind), images, index)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(run(reduced_model(method, kind), images, index), first)
    assert torch.equal(images, copies[0])
    assert torch.equal(index, copies[1])


@every_pair
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(method: str, kind: str, dtype: torch.dtype) -> None:
    reduced = reduced_model(method, kind).to(dtype)
    assert run(reduced, images_for(reduced.model)).isfinite().all()


@pytest.mark.parametrize("name", list(registry().methods))
def test_every_method_says_what_it_does_in_one_sentence(name: str) -> None:
    cls = registry().method(name)
    assert cls.name == name
    assert cls.__doc__
    assert cls.__doc__.strip().splitlines()[0].endswith((".", ":"))
