"""timm's Eva: rotary embeddings follow their tokens, whatever their kind, prefix and pooling."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from timm.layers.pos_embed_sincos import RotaryEmbedding
from timm.models.eva import Eva, EvaBlock
from torch import nn

import keeprate
from battery import SMALL, Battery, made, randomised
from keeprate import KeeprateError, Needs, Place
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof
from references import positions as slow
from references.uneven import assert_as_if_each_ran_alone

pytestmark = pytest.mark.sample(2)


def gated() -> nn.Module:
    """Return a model whose attention is gated: the blocks can, no model of timm's does."""
    model = made("vit_small_patch16_rope_224")()
    for index in range(len(model.blocks)):
        model.blocks[index] = EvaBlock(48, 3, attn_type="rope", gated_attn=True)
    return model.eval()


FAMILIES = {
    "EVA (no rotary embedding)": made("eva_giant_patch14_224"),
    "EVA-02 tiny (gated MLP)": made("eva02_tiny_patch14_224"),
    "EVA-02 base (three projections)": made("eva02_base_patch14_448"),
    "EVA-02 CLIP (norm inside the attention)": made("eva02_base_patch16_clip_224"),
    "EVA-02 enormous (residual post-norm)": made("eva02_enormous_patch14_clip_224"),
    "post-norm, turned": made("eva02_tiny_patch14_224", use_post_norm=True, swiglu_mlp=False),
    "a register, no class token": made("vit_medium_patch16_rope_reg1_gap_256"),
    "four registers": made("vit_betwixt_patch16_rope_reg4_gap_256", img_size=(24, 40)),
    "PE core (attention pooling, prefix too)": made("vit_pe_core_tiny_patch16_384"),
    "PE core without a class token": made("vit_pe_core_small_patch16_384", class_token=False),
    "PE lang": made("vit_pe_lang_large_patch14_448", depth=3),
    "RoPE-ViT axial": made("vit_small_patch16_rope_224", img_size=(24, 40)),
    "RoPE-ViT mixed": made("vit_small_patch16_rope_mixed_224", img_size=(24, 40)),
    "RoPE-ViT mixed, absolute too": made("vit_base_patch16_rope_mixed_ape_224"),
    "DINOv3": made("vit_small_patch16_dinov3"),
    "DINOv3, one image size": made("vit_small_patch16_dinov3_qkvb", dynamic_img_size=False),
    "DINOv3 huge+": made("vit_huge_plus_patch16_dinov3", global_pool="token"),
    "LingBot-Vision": made("vit_small_patch16_lingbot"),
    "Sapiens2 (grouped queries in the middle)": made(
        "vit_base_patch16_sapiens2", img_size=(40, 24), num_kv_heads=(3, 1, 1, 3)
    ),
    "MRoPE": made("eva02_tiny_patch14_224", rope_type="mrope", img_size=(24, 40)),
    "gated attention": gated,
    "max pooling": made("vit_small_patch16_dinov3", global_pool="max"),
}
SEVERAL_SIZES = {
    "axial": made("vit_medium_patch16_rope_reg1_gap_256", dynamic_img_size=True),
    "axial, for a reference size": made("eva02_tiny_patch14_224", dynamic_img_size=True),
    "mixed": made("vit_small_patch16_rope_mixed_ape_224", dynamic_img_size=True),
    "mrope": made("eva02_tiny_patch14_224", rope_type="mrope", dynamic_img_size=True),
    "padded": made("vit_small_patch16_dinov3", dynamic_img_pad=True),
}


@pytest.fixture(params=FAMILIES, ids=str, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(FAMILIES[request.param]())


class TestFamily(Battery):
    """Every model above passes the battery."""


def test_padding_takes_no_part(model: nn.Module) -> None:
    model = copy.deepcopy(model).double()
    assert_as_if_each_ran_alone(model, adapt(model).example(3), Place.AFTER_BLOCK)


@pytest.mark.parametrize("family", SEVERAL_SIZES)
@pytest.mark.parametrize("size", [(32, 32), (20, 44)], ids=str)
def test_the_embedding_is_that_of_the_images_own_grid(family: str, size: tuple[int, int]) -> None:
    height, width = (size[0] - 2, size[1] - 1) if family == "padded" else size
    model = randomised(SEVERAL_SIZES[family]()).double()
    backbone = adapt(model)
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    assert proof.identity_error(backbone, images) == 0.0
    for place in Place:
        assert proof.oracle_error(backbone, images, "keep=0.6@0,2", place, Needs.KEYS) < 1e-9
    one = images[:1]
    reduced = proof.probed(backbone, "keep=0.6@0,2")
    assert reduced.costs((height, width)).model == proof.counted_macs(backbone, reduced, one)


@pytest.mark.parametrize("proportional", [True, False])
def test_a_merged_token_is_turned_as_the_one_it_merged_into(proportional: bool) -> None:
    options = {"img_size": (16, 20), "embed_dim": 24, "depth": 3}
    model = randomised(made("vit_small_patch16_rope_mixed_ape_224", **options)()).double()
    image = adapt(model).example(1)
    reduced = keeprate.reduce(model, "tome", "r=5", proportional_attention=proportional)
    with torch.inference_mode():
        x = model.norm_pre(model._pos_embed(model.patch_embed(image))[0])[0]
        expected = slow.forward(model, x, [5, 5, 5], slow.Mixed(model), proportional=proportional)
        torch.testing.assert_close(reduced(image)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["RoPE-ViT mixed", "EVA-02 base (three projections)"])
def test_switched_off_fused_attention_is_read_all_the_same(family: str) -> None:
    model = randomised(FAMILIES[family]())
    method = proof.Probe(Place.AFTER_BLOCK, Needs.WEIGHTS)
    images = adapt(model).example(2)
    with torch.inference_mode():
        expected = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
        for block in model.blocks:
            block.attn.fused_attn = False
        ours = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def small(**options: object) -> Eva:
    return Eva(**{**SMALL, "use_rot_pos_emb": True, **options})


def with_other_rope() -> Eva:
    model = small()
    model.rope = RotaryEmbedding(16)
    return model


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: type("MyEva", (Eva,), {})(**SMALL), "a subclass of Eva may compute otherwise"),
        (lambda: small(patch_drop_rate=0.1), r"patch dropout \(patch_drop_rate > 0\)"),
        (lambda: small(global_pool="avgmax"), "pooling 'avgmax' is not supported"),
        (with_other_rope, "the rotary embedding is a RotaryEmbedding, not RotaryEmbeddingCat"),
    ],
    ids=["subclass", "patch dropout", "pooling", "rotary embedding"],
)
def test_what_is_not_known_is_refused_by_name(build: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(KeeprateError, match=why):
        adapt(build())


def test_blocks_of_other_classes_are_refused() -> None:
    for part, why in (
        ("attn", "the attention of block 1 is a Identity, not EvaAttention or AttentionRope"),
        ("mlp", "the MLP of block 1 is a Identity, not Mlp or GluMlp or SwiGLU"),
    ):
        model = small()
        setattr(model.blocks[1], part, nn.Identity())
        with pytest.raises(KeeprateError, match=why):
            adapt(model)
    model.blocks[0] = nn.Identity()
    with pytest.raises(KeeprateError, match="block 0 is a Identity, not EvaBlock or EvaBlockPost"):
        adapt(model)
