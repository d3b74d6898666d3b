"""An empty last MLP: the same logits for less, where the head reads the class token alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import keeprate
from keeprate import KeeprateError
from references.tiny import images_for, tiny_vit

METHODS = [
    ("full", {}),
    ("random", {}),
    ("class-attention", {}),
    ("tome", {}),
    ("zero-tprune", {}),
    ("zero-tprune", {"on_drop": "merge"}),
]


def test_an_empty_last_mlp_leaves_the_logits(vit: nn.Module) -> None:
    images = images_for(vit)
    for method, parameters in METHODS:
        schedule = None if method == "full" else "keep=0.6@1,2"
        plain, emptied = (
            keeprate.reduce(vit, method, schedule, empty_last_mlp=switch, **parameters)
            for switch in (False, True)
        )
        with torch.inference_mode():
            torch.testing.assert_close(emptied(images), plain(images), rtol=1e-9, atol=1e-9)
        assert emptied.token_counts[0, -1] == 1
        saved = (plain.token_counts[0, -1] - 1) * 8 * 24 * 24
        assert plain.costs().total - emptied.costs().total == saved


@pytest.mark.parametrize(
    "name",
    ["vit_base_patch16_siglip_gap_224", "vit_base_patch16_siglip_224", "beit3_base_patch16_224"],
)
def test_an_empty_last_mlp_is_refused_where_the_head_pools_patches(name: str) -> None:
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(tiny_vit(name), "random", "keep=0.5@1", empty_last_mlp=True)
    assert str(refused.value) == (
        "empty_last_mlp needs a head that reads only the class token; this model pools its patches."
    )


def test_a_stage_at_the_last_block_gives_way_to_the_empty_last_mlp(vit: nn.Module) -> None:
    for method in ("random", "zero-tprune"):
        reduced = keeprate.reduce(vit, method, "20@1,12@3", empty_last_mlp=True)
        with torch.inference_mode():
            reduced(images_for(vit))
        assert reduced.token_counts[0].tolist() == [26, 21, 21, 1]
        assert reduced.macs_per_image.total[0] == reduced.costs().total
