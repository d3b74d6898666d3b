"""ToFu and PiToMe: what is dropped, merged and fused equals written-out loops."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

import keeprate
from keeprate import Attention, KeeprateError, Method, Needs, Stage, Tokens
from keeprate_methods.pitome import PiToMe
from keeprate_methods.tofu import ToFu
from references import clusters as slow
from references.merging import merge
from references.tiny import random_attention, random_tokens, tiny_vit

DEPTH = 6


def mean_keys(attention: Attention, image: int, prefix: int = 0) -> list[list[float]]:
    return attention.k[image, :, prefix:].mean(dim=0).tolist()


def expect(found: Tensor, rows: list[list[float]]) -> None:
    torch.testing.assert_close(found, torch.tensor(rows, dtype=torch.float64), rtol=0, atol=1e-12)


def fused(method: ToFu, vectors: list[list[float]]) -> list[float]:
    if len(vectors) == 1:
        return vectors[0]
    if method.fusion == "average":
        return slow.mean(vectors, [1.0] * len(vectors))
    return slow.mlerp(vectors, method.norm == "repository")


TOFUS = (ToFu(), ToFu(fusion="average"), ToFu(norm="repository"))


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize("method", TOFUS, ids=["mlerp", "average", "repository"])
def test_tofu_drops_and_fuses_as_the_reference(method: ToFu, prefix: int) -> None:
    tokens = random_tokens(3, 11, prefix=prefix, sizes=True, trace=True)
    attention = random_attention(tokens)
    for block in (0, DEPTH - 1):
        after = method.reduce(tokens, attention, Stage(block, 7, DEPTH))
        for image in range(3):
            groups = merge(mean_keys(attention, image), prefix, 4).groups
            x, size = tokens.x[image].tolist(), tokens.size[image].tolist()
            owner = after.owner[image].tolist()
            if block == 0:
                assert torch.equal(after.x[image], tokens.x[image, [group[0] for group in groups]])
                assert after.size[image].tolist() == [size[group[0]] for group in groups]
                assert owner.count(-1) == 4
                continue
            expect(after.x[image], [fused(method, [x[i] for i in group]) for group in groups])
            assert after.size[image].tolist() == [sum(size[i] for i in g) for g in groups]
            home = {token: new for new, group in enumerate(groups) for token in group}
            assert owner == [home[prefix + patch] for patch in range(11)]


def test_a_fused_token_is_as_long_as_the_longest_in_it() -> None:
    keys = torch.tensor([[9.0, 0], [1, 0], [1, 0.1], [-1, 0.2], [1, 0.2], [0, -1]])[None, None]
    x = torch.tensor([[[1.0, 1], [3, 4], [0, 1], [1, 0], [6, 8], [2, 2]]])
    tokens = Tokens.of(x, num_prefix=1, has_class_token=True)
    attention = Attention(keys, keys, keys, 1.0, None, x, Needs.KEYS)
    after = ToFu(prune_blocks=0).reduce(tokens, attention, Stage(0, 3, 12))
    assert after.x[0, 0].tolist() == [1, 1]
    assert torch.equal(after.x[0, 2:], x[0, [3, 5]])
    assert after.x[0, 1].norm().item() == pytest.approx(10)
    direction = torch.tensor([3.0 + 0 + 6, 4 + 1 + 8])
    torch.testing.assert_close(after.x[0, 1], 10 * direction / direction.norm())


@pytest.mark.parametrize(
    ("method", "depth", "pruning"),
    [
        (ToFu(), 12, 6),
        (ToFu(), 5, 2),
        (ToFu(norm="repository"), 12, 7),
        (ToFu(norm="repository"), 5, 3),
        (ToFu(prune_blocks=0), 12, 0),
        (ToFu(prune_blocks=2, norm="repository"), 12, 2),
        (ToFu(prune_blocks=99), 12, 12),
    ],
)
def test_tofu_prunes_in_the_first_blocks(method: ToFu, depth: int, pruning: int) -> None:
    prunes = [method.prunes(Stage(block, 5, depth)) for block in range(depth)]
    assert prunes == [block < pruning for block in range(depth)]


PITOMES = {
    "paper": (PiToMe(), slow.paper_pair),
    "repository": (PiToMe(energy="repository"), slow.repository_pair),
    "bsm": (PiToMe(steps="bsm-first", margin=0.75), slow.paper_pair),
}


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("name", PITOMES)
def test_pitome_merges_as_the_reference(name: str, prefix: int) -> None:
    method, pair = PITOMES[name]
    for patches, removed, block in ((11, 5, 0), (11, 2, 2), (12, 6, 1), (3, 1, 0)):
        tokens = random_tokens(3, patches, prefix=prefix, sizes=True, trace=True)
        attention = random_attention(tokens)
        after = method.reduce(tokens, attention, Stage(block, patches - removed, DEPTH))
        at_margin = partial(pair, margin=method.margin * (1 - block / DEPTH))
        assert torch.equal(after.x[:, :prefix], tokens.x[:, :prefix])
        for image in range(3):
            keys = mean_keys(attention, image, prefix)
            groups = slow.energy_groups(keys, removed, at_margin, name != "bsm")
            x = tokens.x[image, prefix:].tolist()
            size = tokens.size[image, prefix:].tolist()
            rows = [slow.mean([x[i] for i in g], [size[i] for i in g]) for g in groups]
            expect(after.x[image, prefix:], rows)
            sizes = after.size[image, prefix:].tolist()
            assert sizes == [sum(size[i] for i in group) for group in groups]
            home = {token: prefix + new for new, g in enumerate(groups) for token in g}
            assert after.owner[image].tolist() == [home[patch] for patch in range(patches)]


def test_the_two_energies_rank_differently() -> None:
    """They differ by the margin for pairs above it, which some tokens have more of."""
    tokens = random_tokens(8, 16)
    attention = random_attention(tokens, width=3)
    stage = Stage(2, 8, DEPTH)
    one, other = (
        PiToMe(energy=energy, margin=0.9).reduce(tokens, attention, stage).x
        for energy in ("paper", "repository")
    )
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("steps", "protects"),
    [
        ("pitome", [True] * 5),
        ("bsm-first", [False] * 3 + [True] * 2),
        ("pitome-first", [True] * 3 + [False] * 2),
    ],
)
def test_the_first_half_of_an_odd_number_of_blocks_has_the_middle_one(
    steps: str, protects: list[bool]
) -> None:
    method = PiToMe(steps=steps)
    assert [method.protects(Stage(block, 5, 5)) for block in range(5)] == protects


@pytest.mark.parametrize("cls", [ToFu, PiToMe])
def test_at_most_half_of_the_patch_tokens_go_at_once(cls: type[Method]) -> None:
    reduced = keeprate.reduce(tiny_vit(), cls(), "r=13")
    assert [stage.keep for stage in reduced.stages()] == [13, 7, 4, 2]


@pytest.mark.parametrize("cls", [ToFu, PiToMe])
def test_equal_keys_go_by_position(cls: type[Method]) -> None:
    tokens = random_tokens(2, 9, trace=True)
    keys = torch.ones(2, 3, 10, 4, dtype=torch.float64)
    attention = Attention(keys, keys, keys, 0.5, None, tokens.x, Needs.KEYS)
    after = cls().reduce(tokens, attention, Stage(11, 7, 12))
    # ToFu: positions 2 and 4 into 1; PiToMe: 1 and 3 of the first four into 2
    merged = [[0, 1, 3]] if cls is ToFu else [[0, 1, 2]]
    for owner in after.owner.tolist():
        together = [[i for i, home in enumerate(owner) if home == new] for new in set(owner)]
        assert [group for group in together if len(group) > 1] == merged


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(ToFu, prune_blocks=-1), "prune_blocks must not be negative"),
        (partial(PiToMe, alpha=-0.5), "alpha must not be negative"),
    ],
)
def test_impossible_parameters_are_refused(make: partial[Method], message: str) -> None:
    with pytest.raises(KeeprateError, match=message):
        make()
