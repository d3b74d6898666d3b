"""timm's BEiT and relative-position models: their tables are looked up for the tokens left."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from timm.models.beit import Beit
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn

import keeprate
from battery import (
    SMALL,
    Battery,
    assert_equals_oracle,
    assert_identical,
    assert_macs,
    made,
    randomised,
)
from keeprate import KeeprateError, Needs, Place
from keeprate.attention import Attention
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof
from keeprate.reduction.attention_reader import AttentionReader
from keeprate.tokens import Tokens
from references import positions as slow
from references.uneven import assert_as_if_each_ran_alone

pytestmark = pytest.mark.sample(2)

BEIT, RELPOS = "beit_base_patch16_224", "vit_relpos_small_patch16_224"
MLP = {"rel_pos_type": "mlp", "rel_pos_dim": 32}
FAMILIES = {
    "BEiT (a table per block)": made(BEIT, img_size=(24, 40)),
    "BEiT v2": made("beitv2_base_patch16_224"),
    "BEiT, one table for all blocks": made(
        BEIT, use_rel_pos_bias=False, use_shared_rel_pos_bias=True
    ),
    "BEiT, both tables": made(BEIT, use_shared_rel_pos_bias=True, init_values=None),
    "BEiT, absolute positions alone": made(BEIT, use_rel_pos_bias=False, use_abs_pos_emb=True),
    "BEiT, gated MLP, class token read": made(
        BEIT, swiglu_mlp=True, scale_mlp=True, global_pool="token"
    ),
    "relpos (a table per block)": made(RELPOS, img_size=(24, 40)),
    "relpos, one table for all blocks": made(
        "vit_srelpos_small_patch16_224", rel_pos_type="bias", class_token=True
    ),
    "relpos, residual post-norm": made("vit_relpos_small_patch16_rpn_224"),
    "relpos, class token read": made("vit_relpos_medium_patch16_cls_224", img_size=(24, 40)),
    "relpos, class token, average": made("vit_relpos_base_patch16_clsgap_224"),
    "relpos, an MLP per block": made(RELPOS, **MLP, img_size=(24, 40)),
    "relpos, an MLP per block, class token": made(RELPOS, **MLP, class_token=True),
    "relpos, one MLP for all blocks": made("vit_srelpos_small_patch16_224"),
    "relpos, an MLP as in Swin": made(RELPOS, rel_pos_type="mlp-swin", qk_norm=True),
}
ONE_OF_EACH = [
    "BEiT (a table per block)",
    "BEiT, both tables",
    "relpos, one table for all blocks",
    "relpos, an MLP per block",
]


@pytest.fixture(params=FAMILIES, ids=str, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(FAMILIES[request.param]())


class TestFamily(Battery):
    """Every model above passes the battery."""


def test_padding_takes_no_part(model: nn.Module) -> None:
    model = copy.deepcopy(model).double()
    assert_as_if_each_ran_alone(model, adapt(model).example(3), Place.AFTER_BLOCK)


def test_what_all_blocks_share_is_counted_once() -> None:
    rows = 15 * 15  # steps from -7 to 7 along each side of 8 patches
    own, shared = (2 * 32 + 32 * 3) * rows, (2 * 24 + 24 * 3) * rows
    each = adapt(made(RELPOS, **MLP)())
    once = adapt(made("vit_srelpos_small_patch16_224", rel_pos_dim=24)())
    assert [each.block_cost(block).fixed for block in range(4)] == [own] * 4
    assert [once.block_cost(block).fixed for block in range(4)] == [shared, 0, 0, 0]


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_another_image_size_is_looked_up_alike(family: str) -> None:
    model = randomised(FAMILIES[family]())
    with warnings.catch_warnings(action="ignore"):  # of timm's own resizing
        model.set_input_size(img_size=(20, 28))
    assert_identical(model)
    assert_equals_oracle(model, Place.AFTER_BLOCK, Needs.WEIGHTS)
    assert_macs(model, Place.AFTER_ATTENTION)


@pytest.mark.parametrize("proportional", [True, False])
@pytest.mark.parametrize("options", [{}, {"use_shared_rel_pos_bias": True}], ids=["own", "both"])
def test_a_merged_token_keeps_the_place_of_the_one_it_merged_into(
    options: dict[str, object], proportional: bool
) -> None:
    build = made(BEIT, img_size=(16, 20), embed_dim=24, depth=3, global_pool="token", **options)
    model = randomised(build()).double()
    image = adapt(model).example(1)
    reduced = keeprate.reduce(model, "tome", "r=5", proportional_attention=proportional)
    with torch.inference_mode():
        x = torch.cat([model.cls_token, model.patch_embed(image)], dim=1)[0]
        expected = slow.forward(model, x, [5, 5, 5], slow.Tables(model), proportional=proportional)
        torch.testing.assert_close(reduced(image)[0], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_switched_off_fused_attention_is_read_all_the_same(family: str) -> None:
    model = randomised(FAMILIES[family]())
    method = proof.Probe(Place.AFTER_BLOCK, Needs.WEIGHTS)
    images = adapt(model).example(2)
    with torch.inference_mode():
        expected = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
        switch_off(model)
        ours = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
        merged = keeprate.reduce(model, "tome", "r=5")(images)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert bool(merged.isfinite().all())
    assert not any(getattr(module, "fused_attn", False) for module in model.modules())


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_a_mask_is_added_to_the_table_before_anything_has_moved(family: str) -> None:
    model = randomised(FAMILIES[family]()).double()
    switch_off(model)
    backbone = adapt(model)
    images = backbone.example(2)
    with torch.inference_mode():
        tokens = Tokens.of(backbone.embed(images), context=backbone.context(images))
        mask = torch.zeros(2, 1, 1, tokens.count, dtype=torch.float64)
        mask[..., -9:] = -torch.inf
        ours = backbone.attend(0, tokens, AttentionReader(tokens, mask))
        left = torch.arange(tokens.count - 9).expand(2, -1)
        fewer = Tokens.of(tokens.x, context=tokens.context, follows_positions=True).keep(left)
        expected = backbone.attend(0, fewer, AttentionReader(fewer))
    torch.testing.assert_close(ours[:, :-9], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_the_class_row_is_a_row_of_the_weights(family: str) -> None:
    rows: list[tuple[Tensor, Tensor]] = []

    class Both(proof.Probe):
        def score(self, tokens: Tokens, attention: Attention, stage: keeprate.Stage) -> Tensor:
            rows.append((attention.class_row, attention.weights[:, :, 0]))
            return super().score(tokens, attention, stage)

    model = randomised(FAMILIES[family]())
    reduced = keeprate.reduce(model, Both(Place.AFTER_BLOCK, Needs.WEIGHTS), "keep=0.6@0,1")
    with torch.inference_mode():
        reduced(adapt(model).example(2))
    assert len({row.shape[-1] for row, _ in rows}) == 2  # before and after tokens moved
    for row, expected in rows:
        torch.testing.assert_close(row, expected)


def switch_off(model: nn.Module) -> None:
    for block in model.blocks:
        block.attn.fused_attn = False


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: type("MyBeit", (Beit,), {})(**SMALL), "a subclass of Beit may compute otherwise"),
        (
            lambda: type("MyViT", (VisionTransformerRelPos,), {})(**SMALL),
            "a subclass of VisionTransformerRelPos may compute otherwise",
        ),
        (lambda: Beit(**SMALL, global_pool=""), "pooling '' is not supported"),
    ],
    ids=["BEiT subclass", "relpos subclass", "no pooling"],
)
def test_what_is_not_known_is_refused_by_name(build: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(KeeprateError, match=why):
        adapt(build())


@pytest.mark.parametrize(
    ("family", "part", "why"),
    [
        ("BEiT (a table per block)", "rel_pos_bias", "shared table is a Linear, not RelativeP"),
        ("BEiT (a table per block)", "blocks.1", "block 1 is a Linear, not Block"),
        ("BEiT (a table per block)", "blocks.1.attn", "attention of block 1 is a Linear, not Att"),
        ("BEiT (a table per block)", "blocks.1.mlp", "block 1 is a Linear, not Mlp or SwiGLU"),
        ("relpos, one MLP for all blocks", "shared_rel_pos", "a Linear, not RelPosBias or RelPosM"),
        ("relpos (a table per block)", "blocks.1", "is a Linear, not RelPosBlock or ResPostRelPos"),
        ("relpos (a table per block)", "blocks.1.attn.rel_pos", "a Linear, not RelPosBias or Rel"),
        ("relpos (a table per block)", "blocks.1.mlp", "the MLP of block 1 is a Linear, not Mlp"),
    ],
)
def test_parts_of_other_classes_are_refused(family: str, part: str, why: str) -> None:
    model = FAMILIES[family]()
    owner, _, name = part.rpartition(".")
    setattr(model.get_submodule(owner), name, nn.Linear(1, 1))
    with pytest.raises(KeeprateError, match=why):
        adapt(model)
