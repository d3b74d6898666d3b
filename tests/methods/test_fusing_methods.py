"""MCTF and DiffRate equal written-out loops, and cases worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch

import keeprate
from keeprate import Attention, KeeprateError, Needs, Place, Reuse, Stage, Tokens
from keeprate_methods.diffrate import DiffRate, learned
from keeprate_methods.mctf import MCTF
from references import fusion as slow
from references.tiny import attention_of, random_attention, random_tokens

STAGE = Stage(2, 9, 12)


def close(found: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(
        found.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.sample(6)
@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("ways", ["one", "two"])
@pytest.mark.parametrize("pooling", ["attention", "size"])
@pytest.mark.parametrize("criteria", ["all", "similarity", "similarity+size"])
def test_mctf_fuses_as_the_reference(criteria: str, pooling: str, ways: str, prefix: int) -> None:
    method = MCTF(criteria, ways, pooling)
    tokens = random_tokens(2, 14, prefix=prefix, sizes=True, trace=True)
    attention = random_attention(tokens)
    after = method.reduce(tokens, attention, STAGE)
    for image in range(2):
        x, size = tokens.x[image].tolist(), tokens.size[image].tolist()
        heads, count = attention_of(attention, image), tokens.count
        received = [
            sum(row[j] for head in heads for row in head) / (len(heads) * count)
            for j in range(count)
        ]
        fit = slow.fitness(
            x,
            received if criteria == "all" else None,
            size if criteria != "similarity" else None,
        )
        from_even = 5 if ways == "one" else 2
        groups = slow.two_way_groups(fit, count, prefix, from_even, 5 - from_even)
        own = received if pooling == "attention" else [1.0] * count
        weight = [a * m for a, m in zip(own, size, strict=True)]
        owner = [*range(prefix), *after.owner[image].tolist()]
        places = [owner[group[0]] for group in groups]
        assert sorted(places) == list(range(prefix + 9))
        for place, group in zip(places, groups, strict=True):
            assert {owner[token] for token in group} == {place}
            close(after.x[image, place], slow.fused(x, weight, group))
            assert after.size[image, place] == sum(size[token] for token in group)
        for number, head in enumerate(heads):
            expected = [[slow.fused_weight(head, weight, q, k) for k in groups] for q in groups]
            found = after.reused.weights[image, number][places][:, places]
            close(found, expected)
            close(found.sum(dim=1), [1.0] * len(groups))


def test_mctf_by_hand() -> None:
    """Two of four patches go: 2 into 1, the best pair, and 3 into 4, the only even one left."""
    directions = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.5, 1.0]])
    x = directions[None].double()
    tokens = Tokens.of(x, num_prefix=1, has_class_token=True, trace=True)
    keys = torch.zeros(1, 1, 5, 2, dtype=torch.float64)  # all attend to all alike
    attention = Attention(keys, keys, keys, 1.0, None, x, Needs.WEIGHTS)
    after = MCTF().reduce(tokens, attention, replace(STAGE, keep=2))
    assert after.owner.tolist() == [[2, 2, 1, 1]]
    torch.testing.assert_close(
        after.x[0], torch.tensor([[1, 0], [0.25, 1], [1, 0.05]], dtype=torch.float64)
    )
    assert after.size.tolist() == [[1.0, 2.0, 2.0]]
    close(after.reused.weights[0, 0], [[0.2, 0.4, 0.4]] * 3)


@pytest.mark.sample(8)
@pytest.mark.parametrize("patches", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize("ways", ["one", "two"])
def test_as_many_as_most_removed_can_go(patches: int, prefix: int, ways: str) -> None:
    method = MCTF(ways=ways)
    tokens = random_tokens(1, patches, prefix=prefix, trace=True)
    keep = patches - method.most_removed(patches)
    after = method.reduce(tokens, random_attention(tokens), replace(STAGE, keep=keep))
    assert after.num_patch_tokens == keep
    assert torch.equal(after.x[:, :prefix], tokens.x[:, :prefix])
    assert after.size[0, prefix:].sum() == patches


def test_keys_that_half_precision_lets_nobody_attend_to_are_the_smallest() -> None:
    tokens = random_tokens(1, 8)
    tokens = tokens.with_x(tokens.x.half())
    attention = random_attention(tokens)
    weights = torch.zeros(1, 3, 9, 9, dtype=torch.float16)
    weights[..., 0] = 1.0  # the class token alone is attended to
    after = MCTF().reduce(tokens, replace(attention, given_weights=weights), replace(STAGE, keep=4))
    assert after.x.isfinite().all()
    assert after.reused.weights.isfinite().all()


@pytest.mark.parametrize(
    ("ahead", "place", "reuses"),
    [
        ("approximate", Place.BEFORE_BLOCK, Reuse.WEIGHTS),
        ("precise", Place.BEFORE_BLOCK, Reuse.NOTHING),
        ("none", Place.AFTER_BLOCK, Reuse.NOTHING),
    ],
)
def test_mctf_acts_where_it_says(ahead: str, place: Place, reuses: Reuse) -> None:
    method = MCTF(ahead=ahead)
    assert (method.place, method.reuses, method.needs) == (place, reuses, Needs.WEIGHTS)
    plain = MCTF(ahead=ahead, criteria="similarity", pooling="size")
    assert plain.needs is (Needs.WEIGHTS if reuses is Reuse.WEIGHTS else Needs.NOTHING)


@pytest.mark.parametrize("prefix", [1, 5])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_diffrate_prunes_and_merges_as_the_reference(share: float, prefix: int) -> None:
    method = DiffRate(prune_share=share)
    tokens = random_tokens(2, 14, prefix=prefix)
    weight = torch.rand(2, prefix + 14, generator=torch.Generator().manual_seed(5)) + 0.5
    tokens = tokens.with_token_state(weight=weight.double())
    attention = random_attention(tokens)
    attention.given_score = method.score(tokens, attention, STAGE)
    after = method.reduce(tokens, attention, STAGE)
    pruned = int(5 * share)
    for image in range(2):
        heads = attention_of(attention, image)
        score = [sum(head[0][j] for head in heads) for j in range(tokens.count)]
        x, weights = slow.diffrate(
            tokens.x[image].tolist(), score, weight[image].tolist(), prefix, pruned, 5 - pruned
        )
        close(after.x[image], x)
        if share < 1:
            torch.testing.assert_close(
                after.token_state["weight"][image], torch.tensor(weights, dtype=torch.float64)
            )
    assert (after.size[:, prefix:].sum(dim=1) == 14 - pruned).all()


def test_diffrate_weighs_keys_by_weights_and_never_by_a_negative_one() -> None:
    x = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]], dtype=torch.float64)
    tokens = Tokens.of(x, num_prefix=1, has_class_token=True)
    attention = random_attention(random_tokens(1, 2))
    attention.given_score = torch.tensor([[0.0, 2.0, 1.0]])
    method = DiffRate(prune_share=0.0)
    assert method.key_weights(tokens) is None
    after = method.reduce(tokens, attention, replace(STAGE, keep=1))
    close(after.x[0], [[1.0, 0.0], [0.0, 0.0]])
    assert after.size.tolist() == [[1.0, 2.0]]
    weights = method.key_weights(after)
    assert weights[0, 0] == 1
    assert 0 < weights[0, 1] < 1e-30
    assert log(weights[0, 1]) < 0


def test_learned_numbers_never_rise_and_are_what_is_kept() -> None:
    assert len(learned()) >= 28
    for pruned, merged in learned().values():
        assert len(pruned) == len(merged)
        for counts in (pruned, merged):
            assert list(counts) == sorted(counts, reverse=True)
        assert all(count > 0 for count in merged)
    method = DiffRate("vit-t-deit-0.6")
    pruned, merged = learned()["vit-t-deit-0.6"]
    assert (pruned[3], merged[3]) == (156, 138)
    assert method._left_by_pruning(166, Stage(3, 138, 12)) == 156
    assert set(DiffRate.presets) == set(learned())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rates": "deit"}, "rates is one of vit-t-deit-0.6"),
        ({"prune_share": 1.5}, "prune_share is between 0 and 1"),
    ],
)
def test_impossible_parameters_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(KeeprateError, match=message):
        DiffRate(**values)


def test_the_preset_names_numbers_of_both_kinds() -> None:
    preset = DiffRate.presets["vit-t-deit-0.6"]
    assert preset.parameters == {"rates": "vit-t-deit-0.6"}
    assert preset.schedule.startswith("196@0,186@1,166@2,138@3")
    assert keeprate.Preset is type(preset)
