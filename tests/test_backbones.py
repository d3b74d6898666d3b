"""Every supported family: keeping all is timm's forward, dropping some is the masked model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import Tensor, nn

import keeprate
from keeprate import Attention, KeeprateError, Method, Needs, Place, Stage, Tokens
from keeprate.reduction import Survivors

SMALL = {
    "img_size": 32,
    "patch_size": 4,
    "embed_dim": 48,
    "depth": 4,
    "num_heads": 3,
    "num_classes": 7,
}


def made(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, **options).eval()


FAMILIES = {
    "vit": made("vit_tiny_patch16_224", **SMALL),
    "deit": made("deit_tiny_patch16_224", **SMALL),
    "deit distilled": made("deit_tiny_distilled_patch16_224", **SMALL),
    "deit3 (layer scale, class token without position)": made("deit3_small_patch16_224", **SMALL),
    "dinov2 with registers": made("vit_small_patch14_reg4_dinov2", **SMALL),
    "dinov2 giant (gated MLP)": made("vit_giant_patch14_reg4_dinov2", **SMALL),
    "pre-norm (CLIP)": made("vit_base_patch16_clip_224", **SMALL),
    "average pooling": made("vit_base_patch16_siglip_gap_224", **SMALL),
    "average pooling with registers": made("vit_base_patch16_reg4_gap_256", **SMALL),
    "class token, average pooling": made("beit3_base_patch16_224", **SMALL),
    "attention pooling": made("vit_base_patch16_siglip_224", **SMALL),
    "attention pooling over prefix tokens too": made("test_vit3"),
    "attention pooling with registers": made("vit_so150m_patch16_reg4_map_256", **SMALL),
    "residual post-norm": made("vit_base_patch16_rpn_224", **SMALL),
    "gated MLP, RMSNorm (AIMv2)": made("aimv2_large_patch14_224", **SMALL),
    "qk-norm": made("test_vit4"),
    "max pooling": made("vit_tiny_patch16_224", global_pool="max", **SMALL),
    "dynamic image size": made("vit_tiny_patch16_224", dynamic_img_size=True, **SMALL),
}
FULL_SIZE = [
    "vit_tiny_patch16_224",
    "deit_small_patch16_224",
    "deit_small_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch16_siglip_224",
    "vit_base_patch16_siglip_gap_224",
]


class PeekingScore(Method):
    """Drops by the class row or column mean; reads the attention so that the explicit path runs."""

    name = "peeking"
    default_blocks = (0, 3, 6)
    default_schedule = "keep"

    def __init__(self, place: Place, needs: Needs) -> None:
        self.place, self.needs = place, needs

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        if self.needs is Needs.WEIGHTS:
            return attention.weights.mean(dim=(1, 2))
        return attention.k.square().sum(dim=(1, 3))


@pytest.fixture(params=FAMILIES, ids=str)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return randomised(FAMILIES[request.param]())


def randomised(model: nn.Module) -> nn.Module:
    """Give every parameter a value that matters: fresh models have zero biases."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1 if parameter.dim() > 1 else 0.5)
    return model


def images_for(model: nn.Module, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    side = model.patch_embed.img_size
    return torch.randn(batch, 3, *side, generator=generator)


def oracle(model: VisionTransformer, images: Tensor, survivors: list[Survivors]) -> Tensor:
    """Run the whole model with dropped tokens masked as keys and left out of the pooling."""
    prefix = model.num_prefix_tokens
    x = model.norm_pre(model._pos_embed(model.patch_embed(images)))
    alive = torch.ones(x.shape[:2], dtype=torch.bool)
    dropped_after = {s.block: s.owner < 0 for s in survivors}
    for i, block in enumerate(model.blocks):
        x = block(x, attn_mask=alive[:, None, None, :])
        if i in dropped_after:
            alive[:, prefix:] &= ~dropped_after[i]
    x = model.norm(x)
    left = torch.stack([row[keep] for row, keep in zip(x, alive, strict=True)])
    return model.forward_head(left)


@pytest.mark.parametrize("place", Place)
def test_keeping_every_token_is_bit_identical_to_timm(model: nn.Module, place: Place) -> None:
    reduced = keeprate.reduce(model, PeekingScore(place, Needs.WEIGHTS), "keep=1@0,1,2,3")
    images = images_for(model)
    with torch.inference_mode():
        assert torch.equal(reduced(images), model(images))


@pytest.mark.parametrize("needs", [Needs.KEYS, Needs.WEIGHTS], ids=lambda n: n.name)
@pytest.mark.parametrize("place", Place)
def test_a_pruned_run_equals_the_masked_oracle(
    model: VisionTransformer, place: Place, needs: Needs
) -> None:
    model.double()
    images = images_for(model).double()
    reduced = keeprate.reduce(model, PeekingScore(place, needs), "keep=0.6@0,2", trace=True)
    with torch.inference_mode():
        ours, plain = reduced(images), model(images)
        expected = oracle(model, images, reduced.survivors)
    assert not torch.allclose(ours, plain)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_macs_of_the_plain_model_equal_the_flop_counter(model: nn.Module) -> None:
    assert keeprate.macs(model) == counted(model, images_for(model, batch=1))


@pytest.mark.parametrize("place", Place)
def test_model_macs_of_a_pruned_run_equal_the_flop_counter(model: nn.Module, place: Place) -> None:
    reduced = keeprate.reduce(model, PeekingScore(place, Needs.WEIGHTS), "keep=0.6@0,2")
    images = images_for(model, batch=1)
    assert reduced.costs().model == counted(reduced, images)
    assert reduced.macs_per_image.model.tolist() == [reduced.costs().model]


def counted(model: nn.Module, images: Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.to("meta")(images.to("meta"))
    return int(counter.get_total_flops()) // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_models_are_identical_and_match_the_oracle(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    images = images_for(model, batch=2)
    unpruned = keeprate.reduce(model, PeekingScore(Place.AFTER_BLOCK, Needs.WEIGHTS), "keep=1@2")
    pruned = keeprate.reduce(
        model, PeekingScore(Place.AFTER_BLOCK, Needs.WEIGHTS), "keep=0.7@2,5,8", trace=True
    )
    with torch.inference_mode():
        assert torch.equal(unpruned(images), model(images))
        ours = pruned(images)
        expected = oracle(model, images, pruned.survivors)
    assert float((ours - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: timm.create_model("resnet18"), "resnet.ResNet: it belongs to none of the known"),
        (lambda: timm.create_model("swin_tiny_patch4_window7_224"), "SwinTransformer: it belongs"),
        (
            lambda: VisionTransformer(**SMALL, block_fn=ParallelScalingBlock),
            "block 0 is a ParallelScalingBlock, not a Block or ResPostBlock",
        ),
        (
            lambda: VisionTransformer(**SMALL, patch_drop_rate=0.1),
            r"patch dropout \(patch_drop_rate > 0\) is not supported",
        ),
        (
            lambda: VisionTransformer(**SMALL, attn_layer="diff"),
            "attention DiffAttention in block 0 is not supported",
        ),
        (
            lambda: type("MyViT", (VisionTransformer,), {})(**SMALL),
            "a subclass of VisionTransformer",
        ),
    ],
    ids=["resnet", "swin", "parallel block", "patch dropout", "differential", "subclass"],
)
def test_anything_else_is_refused_by_class_and_reason(
    build: Callable[[], nn.Module], why: str
) -> None:
    with pytest.raises(KeeprateError, match=why):
        keeprate.reduce(build(), "random", "r=1")


def test_a_model_that_does_more_than_its_class_is_refused() -> None:
    hooked, replaced = FAMILIES["vit"](), FAMILIES["vit"]()
    hooked.blocks[2].register_forward_hook(lambda module, inputs, output: 2 * output)
    replaced.forward = lambda images: images.mean(dim=(2, 3))
    for model in (hooked, replaced):
        with pytest.raises(KeeprateError, match="forward hooks on it or its blocks"):
            keeprate.reduce(model, "random", "r=1")


def test_switched_off_fused_attention_pooling_is_refused() -> None:
    model = FAMILIES["attention pooling"]()
    model.attn_pool.fused_attn = False
    with pytest.raises(KeeprateError, match="fused attention is switched off in its attention"):
        keeprate.reduce(model, "tome", "r=1")


def test_switched_off_fused_attention_is_refused() -> None:
    model = FAMILIES["vit"]()
    model.blocks[1].attn.fused_attn = False
    with pytest.raises(KeeprateError, match="fused attention is switched off in block 1"):
        keeprate.reduce(model, "random", "r=1")
