"""Convergence of a ranking: by hand, against numbers moved one by one, and in words."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log

import pytest
import torch
from torch import Tensor

import keeprate
from keeprate import KeeprateError, Method, Needs
from keeprate.method import IterativeMethod
from keeprate.plugins.registry import registry
from keeprate.request import Cost
from keeprate.visualization.convergence import (
    BlockFound,
    ConvergenceStudy,
    Question,
    divergences,
    rows_of,
    settled,
)
from keeprate_methods.page_rank import page_rank, page_rank_after
from picture_factory import source_of
from references.page_rank import heads_that_count, one_score_per_token, page_rank_of_head
from references.tiny import Seen, attention_of, tiny_vit, watched

BY_HAND = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]], dtype=torch.float64)
ITERATIONS = (1, 2, 5, 12)


def zero_tprune(**options: object) -> Method:
    return registry().method("zero-tprune")(**options)


def look(
    question: Question, model: str = "vit_tiny_patch16_224", **options: object
) -> list[BlockFound]:
    source = source_of(tiny_vit(model))
    [picked] = source.pick(["2"])
    return ConvergenceStudy(source, zero_tprune(**options), question).look(picked)


def test_by_hand() -> None:
    steps = page_rank_after(BY_HAND[None, None], (1, 2))[:, 0]  # (2, 1, 3)
    first, second = [0.9 / 3, 1 / 3, 1.1 / 3], [0.91 / 3, 1.03 / 3, 1.06 / 3]
    assert steps[:, 0].tolist() == [pytest.approx(first), pytest.approx(second)]
    expected = sum(new * log(new / old) for old, new in zip(first, second, strict=True))
    assert divergences(steps).item() == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(0.000412, abs=5e-7)
    assert settled(page_rank_after(BY_HAND[None, None], range(1, 20))[:, 0, 0], keep=1) == 1


@pytest.mark.parametrize("emphasis", ["every", "start", "none"])
def test_one_walk_gives_what_each_number_of_iterations_gives(emphasis: str) -> None:
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(2, 3, 9, 9, generator=generator, dtype=torch.float64).softmax(dim=-1)
    found = page_rank_after(weights, (1, 4, 30), emphasis)
    for signal, number in zip(found, (1, 4, 30), strict=True):
        assert torch.equal(signal, page_rank(weights, iterations=number, emphasis=emphasis))


def test_a_divergence_is_that_of_distributions() -> None:
    steps = torch.tensor([[[1.0, 1.0, 2.0]], [[0.0, 5.0, 5.0]]])  # sums differ, a zero appears
    expected = 0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.5)
    assert divergences(steps).tolist() == [[pytest.approx(expected)]]
    assert divergences(steps.flip(0)).tolist() == [[inf]]  # what was impossible has come
    assert divergences(steps[:1].expand(3, -1, -1)).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ([0, 0, 0, 0], 1),
        ([1, 0, 0, 0], 2),
        ([1, 1, 0, 0], 3),
        ([0, 1, 0, 0], 3),  # there, away and back
        ([0, 0, 0, 1], None),
        ([0], 1),
    ],
)
def test_when_the_kept_set_stays(best: list[int], expected: int | None) -> None:
    scores = torch.nn.functional.one_hot(torch.tensor(best), 3).double()
    assert settled(scores, keep=1) == expected


def test_the_order_among_the_kept_does_not_count() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0], [2.0, 2.0, 2.0]])
    assert settled(scores, keep=2) == 1  # ties go to the earlier


def test_ties_go_to_the_earlier_however_many_there_are() -> None:
    scores = torch.zeros(2, 4000)
    scores[0, 2000:] = -1.0  # the first half is kept; afterwards all are equal
    assert settled(scores, keep=2000) == 1


def test_zero_tprune_iterates_in_double_precision() -> None:
    source = source_of(tiny_vit())
    [picked] = source.pick(["1"])
    reduced = keeprate.reduce(source.loaded.model, zero_tprune(), "9@2")
    with watched(reduced.method) as seen, torch.inference_mode():
        reduced(picked.inputs)
    [call] = seen
    signals = zero_tprune().signals(call.tokens, call.attention, call.stage, (1, 3))
    assert signals.dtype == torch.float64
    assert signals.shape == (2, 1, 3, 26)
    torch.testing.assert_close(signals.sum(dim=-1), torch.ones(2, 1, 3, dtype=torch.float64))


def reference(seen: Seen, numbers: range, **settings: object) -> list[list[list[float]]]:
    """Signals after each number of iterations, by head, single numbers moved."""
    heads = attention_of(seen.attention, 0)
    return [[page_rank_of_head(head, n, **settings) for n in numbers] for head in heads]


def kl(new: list[float], old: list[float]) -> float:
    return sum(a * log(a / b) for a, b in zip(new, old, strict=True))


def first_steady(scores: list[list[float]], keep: int) -> int | None:
    """The same number, by comparing sets."""
    sets = [set(sorted(range(len(s)), key=lambda i: (-s[i], i))[:keep]) for s in scores]
    steady = len(sets)
    while steady > 1 and sets[steady - 2] == sets[-1]:
        steady -= 1
    return None if steady == len(sets) else steady


@pytest.mark.parametrize(
    ("model", "emphasis"),
    [("vit_tiny_patch16_224", "every"), ("vit_base_patch16_siglip_gap_224", "none")],
)
def test_a_study_is_what_the_slow_reference_finds(model: str, emphasis: str) -> None:
    vit = tiny_vit(model).double()
    source = source_of(vit)
    [picked] = source.pick(["2"])
    picked = replace(picked, inputs=picked.inputs.double())
    question = Question(ITERATIONS, None, (1, 3), keep_rate=0.4)
    blocks = ConvergenceStudy(source, zero_tprune(), question).look(picked)
    prefix = source.backbone.num_prefix
    assert [found.heads[0].block for found in blocks] == [1, 3]
    for found in blocks:
        together, *heads = found.heads
        reduced = keeprate.reduce(vit, zero_tprune(), f"10@{together.block}")
        with watched(reduced.method) as seen, torch.inference_mode():
            reduced(picked.inputs)
        signals = reference(seen[0], range(1, 13), emphasis=emphasis)
        patches = list(range(prefix, 25 + prefix))
        for row, signal in zip(heads, signals, strict=True):
            assert (row.patches, row.keep) == (25, 10)
            expected = [kl(signal[b - 1], signal[a - 1]) for a, b in ((1, 2), (2, 5), (5, 12))]
            assert row.divergences == pytest.approx(expected, rel=1e-6, abs=1e-15)
            assert row.settled == first_steady([s[prefix:] for s in signal], 10)
        means = [sum(row.divergences[i] for row in heads) / len(heads) for i in range(3)]
        assert together.divergences == pytest.approx(means)
        scores = []
        for number in range(12):
            after = [signal[number] for signal in signals]
            counting = heads_that_count(after, patches, 0.01, 0.7)
            scores.append(one_score_per_token(after, counting, "rms")[prefix:])
        assert together.settled == first_steady(scores, 10)
        for number, importance in zip(ITERATIONS, found.maps, strict=True):
            assert importance.ravel().tolist() == pytest.approx(scores[number - 1], rel=1e-5)


def test_the_unpruned_study_sees_every_token_in_every_block() -> None:
    found = look(Question(ITERATIONS, keep_rate=0.5))
    assert [each.heads[0].block for each in found] == [0, 1, 2, 3]
    assert {(row.patches, row.keep) for row in rows_of(found)} == {(25, 12)}
    assert [row.head for row in found[0].heads] == [None, 0, 1, 2]
    alone = look(Question(ITERATIONS, None, (3,), keep_rate=0.5))
    assert alone[0].heads == found[3].heads


def test_a_study_along_a_schedule_sees_what_is_left() -> None:
    found = look(Question(ITERATIONS, Cost("18@0,11@2,8@3")))
    assert [(b.heads[0].block, b.heads[0].patches, b.heads[0].keep) for b in found] == [
        (0, 25, 18),
        (2, 18, 11),
        (3, 11, 8),
    ]
    gone = [int(torch.from_numpy(block.maps[0]).isnan().sum()) for block in found]
    assert gone == [0, 7, 14]


def test_methods_that_do_not_iterate_are_refused() -> None:
    source = source_of(tiny_vit())
    source.pick(["0"])
    with pytest.raises(KeeprateError) as raised:
        ConvergenceStudy(source, registry().method("tome")(), Question(ITERATIONS))
    assert str(raised.value) == (
        "Method 'tome' does not iterate: there is no convergence to study. A method does that "
        "offers the functions of keeprate.method.IterativeMethod."
    )


@pytest.mark.parametrize("numbers", [(), (5,), (5, 1), (1, 1), (0, 5)])
def test_numbers_of_iterations_ascend_from_one(numbers: tuple[int, ...]) -> None:
    with pytest.raises(KeeprateError) as raised:
        Question(numbers)
    assert str(raised.value) == "iterations must be two or more numbers from 1, ascending."


def test_a_keep_rate_that_drops_nothing_is_refused() -> None:
    source = source_of(tiny_vit(img_size=4, patch_size=4))
    source.pick(["0"])
    with pytest.raises(KeeprateError) as raised:
        ConvergenceStudy(source, zero_tprune(), Question(ITERATIONS, keep_rate=0.9))
    assert str(raised.value) == "A keep rate of 0.9 drops none of 1 patch tokens."


class Counting(Method):
    """Iterates without any page rank: a third party's."""

    name = "counting"
    needs = Needs.KEYS

    def __init__(self, shape: tuple[int, ...] | None = None) -> None:
        self.shape = shape

    def score(self, tokens: keeprate.Tokens, attention: object, stage: object) -> Tensor:
        return tokens.x[..., 0]

    def signals(
        self, tokens: keeprate.Tokens, attention: object, stage: object, iterations: range
    ) -> Tensor:
        last = tokens.count
        shape = (len(iterations), 1, 2, last) if self.shape is None else self.shape
        distributions = torch.ones(shape)
        for number in iterations if self.shape is None else ():
            distributions[number - 1, ..., last - min(number, 5)] = 100.0
        return distributions / distributions.sum(dim=-1, keepdim=True)

    def combined(self, tokens: keeprate.Tokens, signal: Tensor) -> Tensor:
        return signal.mean(dim=1)


def test_any_method_may_offer_its_iterations() -> None:
    assert isinstance(Counting(), IterativeMethod)
    source = source_of(tiny_vit())
    [picked] = source.pick(["0"])
    question = Question((1, 5, 9), None, (2,), keep_rate=0.04)
    [found] = ConvergenceStudy(source, Counting(), question).look(picked)
    assert [row.settled for row in found.heads] == [5, 5, 5]
    assert [row.keep for row in found.heads] == [1, 1, 1]
    first, second = found.heads[0].divergences
    assert first == pytest.approx(99 / 125 * log(100))
    assert second == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shape", [(9, 1, 26), (8, 1, 2, 26), (9, 2, 2, 26), (9, 1, 2, 25)])
def test_signals_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    source = source_of(tiny_vit())
    [picked] = source.pick(["0"])
    study = ConvergenceStudy(source, Counting(shape), Question((1, 9), None, (2,)))
    with pytest.raises(KeeprateError) as raised:
        study.look(picked)
    assert str(raised.value) == (
        f"Method 'counting': signals must be (T, B, H, N) for T = 9, B = 1 and N = 26, not {shape}."
    )
