"""Methods in float64 equal what their authors' own code computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import keeprate
from keeprate.tokens import Tokens
from paths import SHARED
from references.tiny import watched

GOLDEN = SHARED / "golden"
pytestmark = pytest.mark.skipif(
    not GOLDEN.exists(), reason=f"{GOLDEN} is not there: it holds outputs of the authors' code"
)
SETTINGS = {
    "prop=True/r=8": ("r=8", True),
    # of `ratio` the tokens stay in each block, the class token counted
    "ratio=0.975": ("r=1", False),
    "ratio=0.8": ("r=13,10,8,6,5,4", False),
}


@pytest.fixture(scope="module")
def golden() -> Iterator[Mapping[str, Any]]:
    with np.load(GOLDEN / "golden.npz") as arrays:
        yield arrays


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    from safetensors.torch import load_file
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(
        img_size=64, patch_size=8, embed_dim=64, depth=6, num_heads=4, num_classes=10
    )
    model.load_state_dict(load_file(GOLDEN / "vit.safetensors"))
    return model.double().eval()


def relative_error(found: Tensor, expected: Any) -> float:
    expected = torch.from_numpy(expected)
    return float((found - expected).abs().max() / expected.abs().max())


def groups(tokens: Tokens) -> list[list[tuple[float, frozenset[int]]]]:
    """Return, for each image, the size and the patches of every token, in an order of their own."""
    assert tokens.owner is not None
    found = []
    for size, owner in zip(tokens.size.tolist(), tokens.owner.tolist(), strict=True):
        patches = [frozenset(np.flatnonzero(np.array(owner) == i)) for i in range(len(size))]
        found.append(sorted(zip(size[1:], patches[1:], strict=True), key=lambda one: min(one[1])))
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_tome_equals_its_authors_code(
    golden: Mapping[str, Any], vit: nn.Module, setting: str
) -> None:
    schedule, proportional = SETTINGS[setting]
    reduced = keeprate.reduce(
        vit, "tome", schedule, trace=True, proportional_attention=proportional
    )
    with torch.inference_mode(), watched(reduced.method) as calls:
        logits = reduced(torch.from_numpy(golden["vit/input"]).double())
    start = f"vit/tome/{setting}"
    assert relative_error(logits, golden[f"{start}/logits"]) < 1e-13
    sizes, sources = golden[f"{start}/size"][..., 0], golden[f"{start}/source"]
    expected = [
        sorted(
            (
                (size, frozenset(np.flatnonzero(source) - 1))  # without the class token
                for size, source in zip(sizes[i][1:], sources[i][1:], strict=True)
            ),
            key=lambda one: min(one[1]),
        )
        for i in range(len(sizes))
    ]
    assert groups(calls[-1].after) == expected


EVIT = [
    (fuse, schedule) for fuse in (True, False) for schedule in ("keep=0.7@1,3", "keep=0.5@2,3,4")
]


@pytest.mark.parametrize(("fuse", "schedule"), EVIT)
def test_evit_equals_its_authors_code(
    golden: Mapping[str, Any], vit: nn.Module, fuse: bool, schedule: str
) -> None:
    reduced = keeprate.reduce(vit, "evit", schedule, fuse=fuse, trace=True)
    with torch.inference_mode(), watched(reduced.method) as calls:
        logits = reduced(torch.from_numpy(golden["vit/input"]).double())
    start = f"vit/evit/fuse={fuse}/{schedule}"
    assert relative_error(logits, golden[f"{start}/logits"]) < 1e-9
    assert reduced.token_counts[0].tolist() == golden[f"{start}/tokens_after_block"].tolist()
    for image in range(len(logits)):
        expected = [frozenset({patch}) for patch in range(64)]
        for call in calls:
            # the authors' code puts the best first, and the fused token last
            kept = golden[f"{start}/kept{call.stage.block}"][image].tolist()
            gone = [patches for i, patches in enumerate(expected) if i not in kept]
            expected = [expected[i] for i in kept] + [frozenset().union(*gone)] * fuse
            found = groups(call.after)[image]
            assert sorted(map(sorted, expected)) == sorted(sorted(patches) for _, patches in found)


@pytest.mark.parametrize("ratio", ["0.975", "0.8"])
def test_dct_equals_its_authors_code(golden: Mapping[str, Any], vit: nn.Module, ratio: str) -> None:
    reduced = keeprate.reduce(vit, "dct", f"keep={ratio}@0,1,2,3,4,5")
    with torch.inference_mode():
        logits = reduced(torch.from_numpy(golden["vit/input"]).double())
    start = f"vit/dct/ratio={ratio}"
    assert relative_error(logits, golden[f"{start}/logits"]) < 1e-9
    assert reduced.token_counts[0].tolist() == golden[f"{start}/tokens_after_block"].tolist()
