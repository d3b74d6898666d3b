"""Methods in float64 equal what their authors' own code computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import keeprate
from keeprate import Attention, Stage, Tokens
from keeprate.plugins.parameters import parse_spec
from keeprate_methods.gtp import GTP
from paths import SHARED
from references.tiny import watched

GOLDEN = SHARED / "golden"
pytestmark = pytest.mark.skipif(
    not GOLDEN.exists(), reason=f"{GOLDEN} is not there: it holds outputs of the authors' code"
)
PATCHES, DEPTH = 64, 6
PITOME = "pitome:steps=bsm-first,margin=0.75,energy=repository,proportional_attention=false"
LINKAGES = ("single", "complete", "average")
MCTF_VARIANTS = {
    "default": "mctf",
    "one-way": "mctf:ways=one",
    "sim-only": "mctf:criteria=similarity",
    "sim+info": "mctf:criteria=similarity+attention",
    "sim+size": "mctf:criteria=similarity+size",
    "size-pool": "mctf:pooling=size",
    "no-prop": "mctf:proportional_attention=false",
    "precise": "mctf:ahead=precise",
    "after-block": "mctf:ahead=none",
}
GTP_VARIANTS = {
    "default": "alpha=0.1",
    "spatial": "graph=spatial,alpha=0.3",
    "semantic": "graph=semantic,neighbours=4,alpha=0.3",
    "no-scale": "scale=false,alpha=0.3",
    "drop": "gone=drop",
    "mean": "gone=mean",
    "MixedAttnMean": "selection=mixed-mean,alpha=0.1",
    "SumAttnMax": "selection=sum-max,alpha=0.1",
    **{
        f"{theirs}{over}": f"selection={ours}-{over.lower()},alpha=0.1"
        for theirs, ours in (
            ("CLSAttn", "class"),
            ("IMGAttn", "image"),
            ("DiagAttn", "diagonal"),
            ("CosSim", "unlike"),
        )
        for over in ("Max", "Mean")
    },
}


def by_share(share: float, counted: int) -> str:
    """Remove what a block's `ratio` does not keep; of prefix tokens `counted` are in the number."""
    left, removals = PATCHES, []
    for _ in range(DEPTH):
        count = left + counted
        removals.append(floor(count - count * share))
        left -= removals[-1]
    return f"r={','.join(map(str, removals))}"


def by_rate(rate: str, after: Sequence[int]) -> str:
    """Keep the share `rate`, once more in each stage, of the patches at the start."""
    counts = [int(PATCHES * float(rate) ** number) for number in range(1, len(after) + 1)]
    return ",".join(f"{count}@{block}" for count, block in zip(counts, after, strict=True))


def settings() -> Iterator[tuple[str, str, str]]:
    """What is recorded, and the method and the schedule that it is here."""
    yield "tome/prop=True/r=8", "tome", "r=8"
    for share in (0.975, 0.8):
        yield f"tome/ratio={share}", "tome:proportional_attention=false", by_share(share, 1)
        yield f"tofu/ratio={share}", "tofu:norm=repository", by_share(share, 1)
        yield f"pitome/ratio={share}", PITOME, by_share(share, 0)
    for linkage in LINKAGES:
        # their r counts the class token, so that one token less goes
        for r, removals in (("4", "r=3"), ("8", "r=7"), ("(4, -1.0)", "r=7,5,3,2,0,0")):
            recorded = f"atc-every-block/{linkage}/r={r}/prop=True"
            yield recorded, f"atc:linkage={linkage}", removals
    for rate in ("0.25", "0.5", "0.7", "0.9"):
        for linkage in LINKAGES:
            recorded = f"atc-stages/{linkage}/keep={rate}@1,3/prop=True"
            yield recorded, f"atc:linkage={linkage}", by_rate(rate, (1, 3))
        # before blocks 1 and 3 is after blocks 0 and 2
        yield f"dpcknn/keep={rate}@1,3/k=5", "dpc-knn", by_rate(rate, (0, 2))
        for number in (1, 3, 5):
            recorded = f"kmedoids/keep={rate}@1,3/iters={number}/attention"
            method = f"k-medoids:iterations={number},variant=repository"
            yield recorded, method, by_rate(rate, (0, 2))
    for rate in ("0.5", "0.7", "0.9"):
        yield f"dpcknn/keep={rate}@2,3,4/k=5", "dpc-knn", by_rate(rate, (1, 2, 3))
    yield from variants()


def variants() -> Iterator[tuple[str, str, str]]:
    """What is recorded of methods with many variants; for MCTF and ATS, before blocks."""
    for variant, spec in MCTF_VARIANTS.items():
        yield f"mctf/{variant}/r=9@1,2,3,4,5", spec, "r=0,9,9,9,9,9"
    for blocks in ("3", "3,4,5", "1,2,3,4,5"):
        points = ",".join(f"{PATCHES}@{block}" for block in blocks.split(","))
        yield f"ats/blocks={blocks}/tokens=65", "ats", points
    for merge, prune in ((0.6, 0.0), (0.7, 0.01), (0.8, 0.0), (1.0, 0.0)):
        yield f"ltmp/merge={merge}/prune={prune}", f"ltmp:merge={merge},prune={prune}", "r=0"
    for variant, parameters in GTP_VARIANTS.items():
        yield f"gtp/{variant}/P=2", f"gtp:{parameters}", "r=2"


@pytest.fixture(scope="module")
def golden() -> Iterator[Mapping[str, Any]]:
    with np.load(GOLDEN / "golden.npz") as arrays:
        yield arrays


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    from safetensors.torch import load_file
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(
        img_size=64, patch_size=8, embed_dim=64, depth=DEPTH, num_heads=4, num_classes=10
    )
    model.load_state_dict(load_file(GOLDEN / "vit.safetensors"))
    return model.double().eval()


def relative_error(found: Tensor, expected: Any) -> float:
    expected = torch.from_numpy(expected)
    return float((found - expected).abs().max() / expected.abs().max())


def groups(tokens: Tokens) -> list[set[tuple[float, frozenset[int]]]]:
    """Return, for each image, the size and the patches of every patch token."""
    assert tokens.owner is not None
    found = []
    for size, owner in zip(tokens.size.tolist(), tokens.owner.tolist(), strict=True):
        patches = [frozenset(np.flatnonzero(np.array(owner) == i)) for i in range(len(size))]
        found.append(set(zip(size[1:], patches[1:], strict=True)))
    return found


def recorded_groups(golden: Mapping[str, Any], start: str) -> list[set[Any]]:
    """Return what `groups` should return."""
    sizes, sources = golden[f"{start}/size"][..., 0], golden[f"{start}/source"]
    return [
        {
            (size, frozenset(np.flatnonzero(source) - 1))  # without the class token
            for size, source in zip(size_of_image[1:], source_of_image[1:], strict=True)
        }
        for size_of_image, source_of_image in zip(sizes, sources, strict=True)
    ]


@pytest.mark.sample(8)
@pytest.mark.parametrize(
    ("recorded", "spec", "schedule"),
    [pytest.param(*setting, id=setting[0]) for setting in settings()],
)
def test_a_method_equals_its_authors_code(
    golden: Mapping[str, Any], vit: nn.Module, recorded: str, spec: str, schedule: str
) -> None:
    name, parameters = parse_spec(spec)
    reduced = keeprate.reduce(vit, name, schedule, trace=True, **parameters)
    with torch.inference_mode(), watched(reduced.method) as calls:
        logits = reduced(torch.from_numpy(golden["vit/input"]).double())
    start = f"vit/{recorded}"
    assert relative_error(logits, golden[f"{start}/logits"]) < 1e-9
    if f"{start}/tokens_after_block" in golden:
        after = golden[f"{start}/tokens_after_block"]
        # one row, or one for each image where their numbers differ
        assert (reduced.token_counts.numpy() == after).all()
    if f"{start}/size" in golden:  # ToFu's sources are recorded as if dropped tokens merged
        assert groups(calls[-1].after) == recorded_groups(golden, start)


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


def test_diffrate_equals_its_authors_code(
    golden: Mapping[str, Any], vit: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = "vit/diffrate/merge"
    pruned, merged = (
        np.minimum.accumulate(golden[f"{start}/{name}_kept_num"] - 1).tolist()
        for name in ("prune", "merge")
    )
    monkeypatch.setattr("keeprate_methods.diffrate.learned", lambda: {"theirs": (pruned, merged)})
    schedule = ",".join(f"{keep}@{block}" for block, keep in enumerate(merged))
    reduced = keeprate.reduce(vit, "diffrate", schedule, rates="theirs", trace=True)
    with torch.inference_mode(), watched(reduced.method) as calls:
        logits = reduced(torch.from_numpy(golden["vit/input"]).double())
    assert relative_error(logits, golden[f"{start}/logits"]) < 1e-9
    assert reduced.token_counts[0].tolist() == golden[f"{start}/tokens_after_block"].tolist()
    # their sizes are our weights
    weights, sources = golden[f"{start}/size"][..., 0], golden[f"{start}/source"]
    after = calls[-1].after
    found = after.token_state["weight"]
    for image, owners in enumerate(after.owner.numpy()):
        expected = dict(zip(map(frozen, sources[image]), weights[image].tolist(), strict=True))
        names = [frozenset({0}), *(frozen(owners == token, 1) for token in range(1, after.count))]
        assert dict(zip(names, found[image].tolist(), strict=True)) == pytest.approx(expected)


def frozen(chosen: Any, first: int = 0) -> frozenset[int]:
    """Return the places at which `chosen` is true, counted from `first`."""
    return frozenset((np.flatnonzero(chosen) + first).tolist())


def test_gtp_with_a_share_of_the_attention_equals_its_authors_code(
    golden: Mapping[str, Any], vit: nn.Module
) -> None:
    """Several scores are 0, and an unstable sort decides between them: as it did for them."""
    start = "vit/gtp/sparse0.6/P=2"
    gone = propagated(golden, start)

    class Forced(GTP):
        def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
            score, patch = super().score(tokens, attention, stage), tokens.token_state["patch"]
            forced = torch.ones_like(score)
            for row, image in enumerate(tokens.image.tolist()):
                goes = torch.tensor([int(p) in gone[stage.block][image] for p in patch[row]])
                # one of the choices that our own scores allow
                lowest = score[row, 1:].sort().values[:2]
                assert torch.equal(score[row, goes].sort().values, lowest)
                forced[row, goes] = 0.0
            return forced

    reduced = keeprate.reduce(vit, Forced(attention_share=0.6, alpha=0.15), "r=2")
    with torch.inference_mode():
        logits = reduced(torch.from_numpy(golden["vit/input"]).double())
    assert relative_error(logits, golden[f"{start}/logits"]) < 1e-9


def propagated(golden: Mapping[str, Any], start: str) -> list[list[set[int]]]:
    """Return which patches of each image went at each block; recorded positions count from 1."""
    images = len(golden[f"{start}/logits"])
    left = [list(range(PATCHES)) for _ in range(images)]
    gone = []
    for block in range(DEPTH):
        kept, went = golden[f"{start}/kept{block}"] - 1, golden[f"{start}/prop{block}"] - 1
        gone.append([{left[i][p] for p in went[i]} for i in range(images)])
        left = [[left[i][p] for p in kept[i]] for i in range(images)]
    return gone


TRAINED = [
    *(("dynamicvit", "dynamicvit"), ("sit", "sit"), ("sinkhorn", "sinkhorn")),
    *(("patchmerger", "patch-merger"), ("dtem", "dtem")),
]


@pytest.mark.parametrize(("recorded", "method"), TRAINED)
def test_a_method_with_trained_layers_equals_its_authors_code(
    golden: Mapping[str, Any], vit: nn.Module, tmp_path: Path, recorded: str, method: str
) -> None:
    # before blocks 1 and 3 is after blocks 0 and 2
    setting, schedule = "keep=0.7@1,3", by_rate("0.7", (0, 2))
    if recorded == "dtem":
        setting = schedule = "r=4"
    start = f"vit/{recorded}/{setting}"
    layers = {
        name.removeprefix(f"{start}/weights/").replace("/", "."): torch.from_numpy(golden[name])
        for name in golden
        if name.startswith(f"{start}/weights/")
    }
    path = tmp_path / "layers.safetensors"
    save_file(layers, path)
    reduced = keeprate.reduce(vit, method, schedule, weights=path)
    with torch.inference_mode():
        logits = reduced(torch.from_numpy(golden["vit/input"]).double())
    assert relative_error(logits, golden[f"{start}/logits"]) < 1e-13
