"""Fixed patterns, and where in a block they and random pruning drop."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import keeprate
from keeprate import KeeprateError, Method, Place
from keeprate.backbones.lookup import adapt
from keeprate.plugins.parameters import values_of
from keeprate.reduction.plan import refuse_unsuited
from keeprate_methods.fixed import Fixed, pattern_order
from keeprate_methods.random_drop import RandomDrop
from references.tiny import images_for, random_attention, random_tokens, tiny_vit

PICTURES = {
    ("centre", 16): "........ ........ ..####.. ..####.. ..####.. ..####.. ........ ........",
    ("grid", 32): "#.#.#.#. .#.#.#.# #.#.#.#. .#.#.#.# #.#.#.#. .#.#.#.# #.#.#.#. .#.#.#.#",
    ("grid", 16): "#.#.#.#. ........ #.#.#.#. ........ #.#.#.#. ........ #.#.#.#. ........",
}
PATTERNS = ("centre", "grid", "radial")


def drawn(pattern: str, keep: int, rows: int = 8, columns: int = 8) -> str:
    kept = set(pattern_order(pattern, rows, columns)[:keep].tolist())
    marks = ["#" if patch in kept else "." for patch in range(rows * columns)]
    return " ".join("".join(marks[row * columns :][:columns]) for row in range(rows))


@pytest.mark.parametrize(("pattern", "keep"), PICTURES)
def test_a_pattern_looks_as_it_is_described(pattern: str, keep: int) -> None:
    assert drawn(pattern, keep) == PICTURES[pattern, keep]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("grid", [(1, 1), (1, 9), (5, 5), (3, 7), (16, 2)])
def test_a_pattern_ranks_every_patch_once(pattern: str, grid: tuple[int, int]) -> None:
    order = pattern_order(pattern, *grid)
    assert sorted(order.tolist()) == list(range(grid[0] * grid[1]))


def test_the_middle_of_an_oblong_image_is_as_oblong() -> None:
    assert drawn("centre", 8, rows=4, columns=8) == "........ ..####.. ..####.. ........"


def written_out(rows: int, columns: int) -> list[int]:
    """The radial pattern, patch by patch, with the bits of the thresholds written as text."""

    def key(patch: int) -> tuple[int, int]:
        down = abs(2 * (patch // columns) + 1 - rows)
        across = abs(2 * (patch % columns) + 1 - columns)
        row, column = f"{down // 2:08b}"[::-1], f"{across // 2:08b}"[::-1]
        digits = [2 * (a != b) + int(a) for a, b in zip(row, column, strict=True)]
        bits = ((max(rows, columns) - 1) // 2).bit_length()
        threshold = sum(
            digit * 4 ** (bits - 1 - place) for place, digit in enumerate(digits[:bits])
        )
        return ((down * columns) ** 2 + (across * rows) ** 2) * (2 * threshold + 1), patch

    return sorted(range(rows * columns), key=key)


@pytest.mark.parametrize("grid", [(8, 8), (14, 14), (5, 9)])
def test_the_radial_pattern_equals_its_slow_reference(grid: tuple[int, int]) -> None:
    assert pattern_order("radial", *grid).tolist() == written_out(*grid)


def test_the_radial_pattern_thins_outwards() -> None:
    kept = pattern_order("radial", 32, 32)[:512]
    row, column = kept // 32 * 2 - 31, kept % 32 * 2 - 31
    distance = (row**2 + column**2).double().sqrt() / 2
    shares = [
        int(((distance >= inner) & (distance < outer)).sum()) / (3.1416 * (outer**2 - inner**2))
        for inner, outer in pairwise((0, 4, 8, 12, 16))
    ]
    assert shares[0] > 0.95
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.5


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_every_image_keeps_the_first_of_the_pattern_at_every_stage(pattern: str, name: str) -> None:
    model = tiny_vit(name, img_size=(20, 32))
    reduced = keeprate.reduce(model, "fixed", "25@0,12@2,3@3", pattern=pattern, trace=True)
    with torch.inference_mode():
        reduced(images_for(model))
    order = pattern_order(pattern, 5, 8)
    for survivors, keep in zip(reduced.survivors, (25, 12, 3), strict=True):
        for owner in survivors.owner:
            assert (owner >= 0).nonzero()[:, 0].tolist() == sorted(order[:keep].tolist())


def test_patches_in_no_grid_are_refused() -> None:
    tokens = random_tokens(1, 6)
    with pytest.raises(KeeprateError, match="form no grid, so that none is in the middle"):
        Fixed().score(tokens, random_attention(tokens), keeprate.Stage(0, 3, 12))


def parallel() -> nn.Module:
    from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer

    sizes = {"img_size": 20, "patch_size": 4, "embed_dim": 24, "num_heads": 3, "num_classes": 5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VisionTransformer(**sizes, depth=4, block_fn=ParallelScalingBlock).eval()


@pytest.mark.parametrize("cls", [RandomDrop, Fixed])
def test_blocks_whose_halves_run_side_by_side_have_a_baseline(cls: type[Method]) -> None:
    model = parallel()
    method = cls(place="after-block")
    assert values_of(method)["place"] == "after-block"
    assert type(values_of(method)["place"]) is str
    reduced = keeprate.reduce(model, method, "9@1")
    images: Tensor = images_for(model)
    with torch.inference_mode():
        assert reduced(images).isfinite().all()
    assert reduced.token_counts[0].tolist() == [26, 10, 10, 10]
    with pytest.raises(KeeprateError) as refused:
        refuse_unsuited(adapt(model), cls())
    offered = str(refused.value).partition("Methods that would work: ")[2]
    assert f"{cls.name}:place=after-block" in offered.rstrip(".").split(", ")


def test_random_draws_the_same_at_both_places() -> None:
    model = tiny_vit()
    kept = []
    for place in (Place.AFTER_ATTENTION, Place.AFTER_BLOCK):
        reduced = keeprate.reduce(model, "random", "9@1", place=place.value, trace=True)
        with torch.inference_mode():
            reduced(images_for(model))
        kept.append(reduced.survivors[0].owner.tolist())
    assert kept[0] == kept[1]
