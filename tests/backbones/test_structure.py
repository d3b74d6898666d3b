"""Equal weights in another structure are another model; names and kernels are not structure."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

import pytest
import timm
import torch
from torch import nn

from keeprate.backbones.loading.loaded import weights_sha256
from keeprate.backbones.loading.structure_hash import structure_sha256

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_classes": 3}


def vit(name: str = "vit_tiny_patch16_224", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, **{**SMALL, "num_heads": 4, **options}).eval()


@pytest.mark.parametrize(
    "other",
    [
        vit(num_heads=2),
        vit(norm_layer=partial(nn.LayerNorm, eps=1e-2)),
        vit(act_layer=nn.ReLU),
        vit(global_pool="avg", fc_norm=False),
    ],
    ids=["heads", "epsilon", "activation", "pooling"],
)
def test_another_structure_with_the_same_weights_is_told_apart(other: nn.Module) -> None:
    one = vit()
    other.load_state_dict(one.state_dict())
    assert weights_sha256(one) == weights_sha256(other)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(one(images), other(images))
    assert structure_sha256(one) != structure_sha256(other)


def test_what_computes_the_same_has_the_same_structure() -> None:
    one, other = vit(), vit("deit_tiny_patch16_224")
    for block in other.blocks:
        block.attn.fused_attn = False
    other.train()
    assert structure_sha256(one) == structure_sha256(other)


@pytest.mark.system
def test_another_process_finds_the_same() -> None:
    code = (
        "import timm; from keeprate.backbones.loading.structure_hash import structure_sha256 as s;"
    )
    code += "print(s(timm.create_model('test_vit')))"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == structure_sha256(timm.create_model("test_vit"))


def test_a_transformers_configuration_counts_without_its_names() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    sizes |= {"intermediate_size": 48, "image_size": 32, "patch_size": 8}

    def model(**options: Any) -> nn.Module:
        config = transformers.ViTConfig(**{**sizes, **options})
        return transformers.ViTForImageClassification(config)  # type: ignore[no-any-return]

    named = model()
    named.config._name_or_path = named.config.name_or_path = "elsewhere/model"
    assert structure_sha256(model()) == structure_sha256(named)
    assert structure_sha256(model()) != structure_sha256(model(layer_norm_eps=1e-3))
    assert structure_sha256(model()) != structure_sha256(model(hidden_act="relu"))
