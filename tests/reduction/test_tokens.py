"""Tokens: keeping, merging and following every patch."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import Tensor

from keeprate import Tokens
from references.tiny import random_tokens


def test_fresh_tokens_stand_for_one_patch_each() -> None:
    x = torch.randn(2, 7, 3)
    tokens = Tokens.of(x, num_prefix=2, has_class_token=True, trace=True)
    assert tokens.x is x
    assert (tokens.count, tokens.num_patch_tokens, tokens.counts) == (7, 5, 7)
    assert tokens.size.tolist() == [[1.0] * 7] * 2
    assert tokens.size.dtype is torch.float32
    assert Tokens.of(x.double()).size.dtype is torch.float64
    assert Tokens.of(x.bfloat16()).size.dtype is torch.float32
    assert tokens.image.tolist() == [0, 1]
    assert tokens.owner.tolist() == [[2, 3, 4, 5, 6]] * 2
    assert tokens.valid is None
    assert not tokens.has_merged
    assert Tokens.of(x).owner is None
    assert Tokens.of(x, image=torch.tensor([8, 3])).image.tolist() == [8, 3]


def test_tokens_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        random_tokens().num_prefix = 3


def test_keep_takes_tokens_in_the_given_order_and_follows_their_owners() -> None:
    tokens = random_tokens(2, 4, sizes=True, trace=True)
    index = torch.tensor([[0, 3, 1], [0, 1, 4]])
    after = tokens.keep(index)
    for image, positions in enumerate(index.tolist()):
        for new, old in enumerate(positions):
            assert torch.equal(after.x[image, new], tokens.x[image, old])
            assert after.size[image, new] == tokens.size[image, old]
    assert after.owner.tolist() == [[2, -1, 1, -1], [1, -1, -1, 2]]
    assert after.keep(torch.tensor([[0, 2], [0, 1]])).owner.tolist() == [
        [1, -1, -1, -1],
        [1, -1, -1, -1],
    ]


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize("k", [0, 1, 3, 8])
def test_the_best_patch_tokens_stay_in_their_order(prefix: int, k: int) -> None:
    tokens = random_tokens(5, 8, prefix=prefix)
    score = torch.rand(5, prefix + 8, generator=torch.Generator().manual_seed(2))
    after = tokens.keep_top(score, k)
    kept, rest = tokens.top(score, k)
    for image in range(5):
        ranked = sorted(range(prefix, prefix + 8), key=lambda t: -float(score[image, t]))
        expected = [*range(prefix), *sorted(ranked[:k])]
        assert kept[image].tolist() == expected
        assert rest[image].tolist() == sorted(ranked[k:])
        assert torch.equal(after.x[image], tokens.x[image, expected])


def test_scores_of_prefix_tokens_are_ignored() -> None:
    tokens = random_tokens(1, 4, prefix=2)
    score = torch.tensor([[-9.0, -torch.inf, 1, 2, 3, 4]])
    assert tokens.top(score, 2)[0].tolist() == [[0, 1, 4, 5]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ties_go_to_the_earlier_token(dtype: torch.dtype) -> None:
    tokens = random_tokens(3, 40)
    assert tokens.top(torch.ones(3, 41, dtype=dtype), 10)[0].tolist() == [list(range(11))] * 3
    score = torch.tensor([[0.0, *[1, 2] * 20]], dtype=dtype).expand(3, -1)
    expected = sorted([0, *range(2, 41, 2), 1, 3])
    assert tokens.top(score, 22)[0].tolist() == [expected] * 3


def test_scores_of_minus_infinity_come_last_and_the_earlier_first() -> None:
    tokens = random_tokens(1, 5)
    score = torch.tensor([[0.0, -torch.inf, 3, -torch.inf, 1, -torch.inf]])
    assert tokens.top(score, 3)[0].tolist() == [[0, 1, 2, 4]]


def test_padding_is_kept_last() -> None:
    tokens = random_tokens(2, 4)
    valid = torch.tensor([[True, True, False, True, False], [True] * 5])
    tokens = replace(tokens, valid=valid)
    score = torch.tensor([[0.0, 1, 9, 2, 9], [0.0, 1, 9, 2, 8]])
    kept, rest = tokens.top(score, 2)
    assert kept.tolist() == [[0, 1, 3], [0, 2, 4]]
    assert rest.tolist() == [[2, 4], [1, 3]]
    assert tokens.counts.tolist() == [3, 5]
    assert tokens.keep(kept).counts.tolist() == [3, 3]
    assert tokens.keep(torch.tensor([[0, 2], [0, 2]])).valid.tolist() == [
        [True, False],
        [True, True],
    ]


def merged_by_loops(
    tokens: Tokens, image: int, pairs: list[tuple[int, int]], order: list[int], average: bool
) -> tuple[Tensor, list[float], list[int]]:
    x, size = tokens.x[image], tokens.size[image].tolist()
    groups = {position: [position] for position in order}
    for source, into in pairs:
        groups[into].append(source)
    rows, sizes = [], []
    for position in order:
        total = sum(size[member] for member in groups[position])
        mean = sum(size[member] * x[member] for member in groups[position]) / total
        rows.append(mean if average else x[position])
        sizes.append(total)
    home = {m: order.index(into) for into, members in groups.items() for m in members}
    owner = [home[old] for old in tokens.owner[image].tolist()]
    return torch.stack(rows), sizes, owner


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("given_order", [True, False])
def test_merging_weighs_by_size_adds_sizes_and_follows_owners(
    average: bool, given_order: bool
) -> None:
    tokens = random_tokens(2, 7, prefix=1, sizes=True, trace=True)
    source = torch.tensor([[2, 4, 7], [1, 3, 6]])
    into = torch.tensor([[3, 3, 5], [2, 4, 4]])
    order = torch.tensor([[0, 6, 5, 3, 1], [0, 7, 2, 4, 5]])
    after = tokens.merge(source, into, order if given_order else None, average=average)
    assert after.has_merged
    for image in range(2):
        positions = order[image].tolist() if given_order else sorted(order[image].tolist())
        pairs = list(zip(source[image].tolist(), into[image].tolist(), strict=True))
        x, size, owner = merged_by_loops(tokens, image, pairs, positions, average)
        torch.testing.assert_close(after.x[image], x, rtol=0, atol=1e-12)
        assert after.size[image].tolist() == size
        assert after.owner[image].tolist() == owner


def test_merging_after_dropping_keeps_lost_patches_lost() -> None:
    tokens = random_tokens(1, 4, trace=True).keep(torch.tensor([[0, 1, 3, 4]]))
    after = tokens.merge(torch.tensor([[1]]), torch.tensor([[3]]))
    assert after.owner.tolist() == [[2, -1, 1, 2]]
    assert after.size.tolist() == [[1, 1, 2]]


def test_merging_keeps_padding_marked() -> None:
    tokens = replace(random_tokens(1, 4), valid=torch.tensor([[True, True, True, True, False]]))
    after = tokens.merge(torch.tensor([[1]]), torch.tensor([[2]]))
    assert after.valid.tolist() == [[True, True, True, False]]


def test_nothing_is_changed_in_place() -> None:
    tokens = random_tokens(2, 6, sizes=True, trace=True)
    before = [t.clone() for t in (tokens.x, tokens.size, tokens.owner, tokens.image)]
    tokens.keep_top(torch.arange(14.0).reshape(2, 7), 3)
    tokens.merge(torch.tensor([[1], [2]]), torch.tensor([[3], [3]]))
    after = (tokens.x, tokens.size, tokens.owner, tokens.image)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_some_images_of_a_batch_are_those_images_alone() -> None:
    tokens = random_tokens(3, 4, sizes=True, trace=True)
    tokens = replace(tokens, valid=torch.tensor([[True] * 4 + [False]] * 3))
    part = tokens.rows(slice(1, 3))
    for name in ("x", "size", "image", "owner", "valid"):
        assert torch.equal(getattr(part, name), getattr(tokens, name)[1:])
    assert part.num_prefix == tokens.num_prefix
    assert part.has_merged == tokens.has_merged
    plain = random_tokens(3, 4).rows(slice(0, 1))
    assert plain.owner is None
    assert plain.valid is None


def test_gradients_reach_what_is_kept_and_what_is_merged_but_not_what_is_dropped() -> None:
    tokens = random_tokens(1, 4)
    x = tokens.x.clone().requires_grad_()
    tokens.with_x(x).keep(torch.tensor([[0, 2, 4]])).x.sum().backward()
    assert x.grad.abs().sum(dim=2).ne(0).tolist() == [[True, False, True, False, True]]
    y = tokens.x.clone().requires_grad_()
    tokens.with_x(y).merge(torch.tensor([[1]]), torch.tensor([[2]])).x.sum().backward()
    assert y.grad[0, :, 0].tolist() == [1, 0.5, 0.5, 1, 1]
