"""LTMP merges and prunes by thresholds as written-out loops do, in every image by itself."""

from __future__ import annotations

import pytest
import timm
import torch

import keeprate
from keeprate import KeeprateError, Stage, Tokens
from keeprate_methods.ltmp import LTMP
from keeprate_methods.thresholds import best_partners, compact_order, important, most_important
from references import thresholds as slow
from references.tiny import random_attention, random_tokens


@pytest.mark.parametrize(("merge", "prune"), [(0.2, 0.0), (-1.0, 0.0), (1.0, 0.1), (0.1, 0.095)])
def test_what_is_left_is_that_of_the_reference(merge: float, prune: float) -> None:
    tokens = random_tokens(4, 11)
    attention = random_attention(tokens)
    method = LTMP(merge, prune)
    score = method.score(tokens, attention, Stage(0, 11, 4))
    attention.given_score = score
    left = method.reduce(tokens, attention, Stage(0, 11, 4))
    keys = attention.k.mean(dim=1)
    for image in range(4):
        expected = slow.merged_and_pruned(
            tokens.x[image], tokens.size[image], keys[image], score[image].tolist(), 1, merge, prune
        )
        there = slice(None) if left.valid is None else left.valid[image]
        torch.testing.assert_close(left.x[image][there], torch.stack([x for x, _ in expected]))
        assert left.size[image][there].tolist() == [size for _, size in expected]


def test_partners_by_hand() -> None:
    """Token 2 is most like 3; token 0, a prefix token, has no partner, nor is 1 one."""
    metric = torch.tensor([[[1.0, 0], [1, 0], [0, 1], [1, 2], [1, 0], [-1, 0]]])
    part = torch.tensor([[False, False, True, True, True, True]])
    best, partner = best_partners(metric, part)
    assert partner[0, 1:].tolist() == [3, 3]
    assert best[0].tolist() == [-torch.inf, pytest.approx(2 / 5**0.5), pytest.approx(1 / 5**0.5)]


def test_one_patch_token_is_left_whatever_the_threshold() -> None:
    alive = torch.tensor([[True, True, False, True]])
    prefix = torch.tensor([True, False, False, False])
    importance = torch.tensor([[0.9, 0.1, 0.8, 0.3]])
    assert important(importance, alive, prefix, 1.0).tolist() == [[True, False, False, True]]
    assert important(importance, alive, prefix, 0.2).tolist() == [[True, False, False, True]]
    assert important(importance, alive, prefix, 0.0).tolist() == alive.tolist()


def test_a_token_alone_has_no_partner() -> None:
    best, _ = best_partners(torch.ones(2, 1, 3), torch.ones(2, 1, dtype=torch.bool))
    assert best.tolist() == [[-torch.inf], [-torch.inf]]


def test_at_most_so_many_are_left_the_most_important() -> None:
    alive = torch.tensor([[True, True, False, True, True]])
    prefix = torch.tensor([True, False, False, False, False])
    importance = torch.tensor([[0.0, 0.1, 0.9, 0.3, 0.2]])
    assert most_important(importance, alive, prefix, 2).tolist() == [
        [True, False, False, True, True]
    ]


def test_even_positions_come_before_odd_ones_and_padding_last() -> None:
    alive = torch.tensor([[True, True, True, False, True], [True, False, False, True, False]])
    index, valid = compact_order(alive, 2)
    assert index[0].tolist() == [0, 1, 2, 4]
    assert index[1][:2].tolist() == [0, 3]
    assert valid.tolist() == [[True] * 4, [True, True, False, False]]


def test_tokens_absorb_others_and_keep_their_patches() -> None:
    x = torch.tensor([[[0.0], [1.0], [3.0], [6.0]]])
    tokens = Tokens.of(x, num_prefix=1, trace=True)
    absorbed = tokens.absorb(torch.tensor([[0, 1, 1, 3]]))
    assert absorbed.x[0, :, 0].tolist() == [0.0, 2.0, 0.0, 6.0]
    assert absorbed.size.tolist() == [[1.0, 2.0, 0.0, 1.0]]
    left = absorbed.keep(torch.tensor([[0, 1, 3]]))
    assert left.owner is not None
    assert left.owner.tolist() == [[1, 1, 2]]
    assert left.has_merged


@pytest.mark.parametrize(
    ("into", "match"),
    [
        ([[0, 2, 3, 3]], "token 1 of image 0 merges into token 2, which merges itself"),
        ([[0, 1, 2, 4]], "position 4 of image 0"),
        ([[0, 1, 2]], r"for every token, \(1, 4\), not \(1, 3\)"),
    ],
)
def test_what_cannot_be_absorbed_is_refused(into: list[list[int]], match: str) -> None:
    tokens = Tokens.of(torch.zeros(1, 4, 2), num_prefix=1)
    with pytest.raises(KeeprateError, match=match):
        tokens.absorb(torch.tensor(into))


@pytest.mark.parametrize("parameters", [{"merge": 2.0}, {"prune": -0.1}])
def test_thresholds_that_mean_nothing_are_refused(parameters: dict[str, float]) -> None:
    with pytest.raises(KeeprateError, match=r"merge is a cosine|prune must not be negative"):
        LTMP(**parameters)


def test_a_schedule_may_be_another_methods_preset() -> None:
    with torch.device("meta"):
        model = timm.create_model("deit_tiny_patch16_224").eval()
    reduced = keeprate.reduce(model, "random", "diffrate:vit-t-deit-0.6")
    assert [stage.keep for stage in reduced.stages()][:3] == [196, 186, 166]
    with pytest.raises(KeeprateError, match=r"method 'difrate'.*diffrate"):
        keeprate.reduce(model, "random", "difrate:vit-t-deit-0.6")
    with pytest.raises(KeeprateError, match=r"preset of method 'diffrate'.*vit-t-deit-0.6"):
        keeprate.reduce(model, "random", "diffrate:vit-t-deit-06")
