"""Methods that act before a block, and what the block takes over of the attention they saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from timm.models.vision_transformer import (
    ParallelScalingBlock,
    ParallelThingsBlock,
    VisionTransformer,
)
from torch import Tensor, nn

import keeprate
from broken_methods import KeyNorm
from keeprate import Attention, KeeprateError, Method, Needs, Place, Stage, Tokens
from keeprate.backbones.lookup import adapt
from keeprate.reduction.plan import make_plan
from keeprate.testing.cases import KINDS, Case
from references.tiny import images_for, tiny_vit
from seam_methods import (
    AllRows,
    Early,
    NotGiven,
    OneHead,
    Rows,
    Square,
    TooLate,
    Undeclared,
)

OPTIONS = {"img_size": 20, "patch_size": 4, "embed_dim": 24, "num_heads": 3, "num_classes": 5}
BLOCKS: Mapping[str, object] = {
    "side by side": {"block_fn": ParallelScalingBlock},
    "two branches": {"block_fn": ParallelThingsBlock},
    "differential": {"attn_layer": "diff", "num_heads": 2},
}


def model_of(kind: str) -> nn.Module:
    if kind in KINDS:
        return Case(kind).model()
    return tiny_blocks(VisionTransformer(**{**OPTIONS, "depth": 4, **BLOCKS[kind]}))


def tiny_blocks(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.normal_(std=0.25, generator=generator)
    return model.double().eval()


def logits(model: nn.Module, method: Method, schedule: str = "11@1,6@3") -> Tensor:
    with torch.inference_mode():
        found: Tensor = keeprate.reduce(model, method, schedule)(images_for(model))
    return found


class AfterBlock(KeyNorm):
    name = "after-block"
    place = Place.AFTER_BLOCK


def test_what_goes_before_a_block_is_what_the_block_does_not_get(vit: nn.Module) -> None:
    images = images_for(vit)
    with torch.inference_mode():
        x = vit.blocks[0](vit._pos_embed(vit.patch_embed(images)))
        block = vit.blocks[1]
        _, k, _ = block.attn.qkv(block.norm1(x)).unflatten(2, (3, 3, 8)).unbind(2)  # (B, N, H, d)
        longest = k.norm(dim=3).mean(dim=2)[:, 1:].topk(10, dim=1).indices.sort(dim=1).values + 1
        kept = torch.cat([torch.zeros_like(longest[:, :1]), longest], dim=1)
        x = x.gather(1, kept[..., None].expand(-1, -1, 24))
        for block in vit.blocks[1:]:
            x = block(x)
        expected = vit.forward_head(vit.norm(x))
    assert torch.equal(logits(vit, Early(), "10@1"), expected)


@pytest.mark.sample(5)
@pytest.mark.parametrize("kind", [*BLOCKS, *KINDS])
def test_what_is_reused_is_what_the_block_would_compute(kind: str) -> None:
    model = model_of(kind)
    anew, plain = logits(model, Early()), logits(model, Early(), "25@1")
    close = {"rtol": 1e-9, "atol": 1e-9}
    assert not torch.allclose(anew, plain, rtol=1e-3)
    # a softmax over the tokens that are left
    torch.testing.assert_close(logits(model, Square()), anew, **close)
    # tokens that all attended to, dropped afterwards
    after = logits(model, AfterBlock())
    torch.testing.assert_close(logits(model, Rows()), after, **close)
    assert not torch.allclose(after, anew, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Undeclared, "declares reuses = NOTHING and returned tokens that reuse values ("),
        (NotGiven, "declares reuses = VALUES and returned tokens that reuse nothing ("),
        (AllRows, "reuses attention weights (3, 3, 26, 26), not (3, 3, 12, 26) ("),
        (OneHead, "reuses attention values (3, 1, 26, 8), not (3, 3, 26, 8) ("),
    ],
)
def test_what_does_not_fit_is_refused(
    vit: nn.Module, method: Callable[[], Method], said: str
) -> None:
    with pytest.raises(KeeprateError) as refused:
        logits(vit, method())
    assert str(refused.value).startswith(f"Method '{method.name}' at block 1 {said}")
    assert "seam_methods.py:" in str(refused.value)


def test_only_what_acts_before_a_block_can_reuse_its_attention(vit: nn.Module) -> None:
    with pytest.raises(
        KeeprateError, match=r"'too-late' declares reuses = .* acts after-block: only"
    ):
        keeprate.reduce(vit, TooLate(), "11@1")


C, ALL, LEFT = 24, 26, 12


def block_macs(tokens: int) -> int:
    return 4 * tokens * C * C + 2 * tokens * tokens * C + 8 * tokens * C * C


LOOK = 2 * ALL * C * C  # queries and keys
WEIGHTS = ALL * ALL * C
HALF = LEFT * C * C  # of the values or the output projection
COSTS = {
    "keys, nothing": (Early, LOOK + block_macs(LEFT)),
    "weights": (Square, LOOK + WEIGHTS + 2 * HALF + LEFT * LEFT * C + 8 * HALF),
    "values": (Rows, LOOK + WEIGHTS + ALL * C * C + LEFT * ALL * C + HALF + 8 * HALF),
}


@pytest.mark.parametrize("reuse", COSTS)
def test_a_look_ahead_costs_what_it_computes_and_spares_what_is_reused(
    vit: nn.Module, reuse: str
) -> None:
    method, second = COSTS[reuse]
    reduced = keeprate.reduce(vit, method(), "11@1")
    embedding, head = 25 * (3 * 4 * 4) * C, 5 * C
    expected = embedding + block_macs(ALL) + second + 2 * block_macs(LEFT) + head
    assert reduced.costs().total == expected
    with torch.inference_mode():
        reduced(images_for(vit))
    assert reduced.macs_per_image.total.tolist() == [expected] * 3


def test_mctf_costs_what_was_published() -> None:
    """2.60 GMACs: 2.577 with the look ahead, and MCTF's own matching and sums with it 2.597."""
    import timm

    from keeprate_methods.mctf import MCTF

    with torch.device("meta"):
        backbone = adapt(timm.create_model("deit_small_patch16_224").eval())
    plan = make_plan(backbone, MCTF(), "mctf-12", None)
    stages, left, own = plan.stages((224, 224)), 196, 0
    for stage in stages:
        shape = keeprate.Shape(left, 1, 6, 64, 384)
        own += MCTF().overhead_macs(shape, stage) if stage.keep < left else 0
        left = stage.keep
    total = plan.costs((224, 224)).total
    assert left == 20
    assert (round((total - own) / 1e9, 3), round(total / 1e9, 3)) == (2.577, 2.597)


def test_a_function_acts_before_a_block(vit: nn.Module) -> None:
    @keeprate.as_method(needs=Needs.KEYS, place=Place.BEFORE_BLOCK)
    def longest(tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Ranks by the length of the keys."""
        return attention.k.norm(dim=-1).mean(dim=1)

    assert torch.equal(logits(vit, longest()), logits(vit, Early()))


@pytest.mark.slow
@pytest.mark.parametrize("method", [Early, Rows, Square])
def test_compiling_changes_nothing(method: type[Method]) -> None:
    model = keeprate.reduce(tiny_vit(), method(), "11@1")
    images = images_for(model.model)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager")
        torch.testing.assert_close(compiled(images), model(images))
