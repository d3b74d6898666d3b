"""What `keeprate speed` measures: pairs by rounds, the floor, and models that do not run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from broken_methods import KeyNorm
from keeprate import Attention, Method, Stage, Tokens
from keeprate.backbone import Backbone
from keeprate.backbones.lookup import adapt
from keeprate.evaluation.speed import ModelSpeed, SpeedUp, measure_speed, reduced_by
from keeprate.evaluation.speed_profile import time_shares
from keeprate.evaluation.timing import Contender, Rounds, Treatment, fill_turns, in_turns
from keeprate.plugins.registry import load, registry
from keeprate.reduction.floor import floor_of
from keeprate.reduction.macs import Passage, tokens_per_block
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.testing.cases import tiny_vit
from seam_methods import Early

ONE = Treatment("32-true", "cpu", 1)
TWO_ROUNDS = Rounds(2, 2, 0)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return adapt(tiny_vit())


class Broken(KeyNorm):
    """Raises at its stage."""

    name = "broken"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        raise ZeroDivisionError("no such place")


class Appending(KeyNorm):
    """Appends a token to those that it keeps."""

    name = "appending"
    appends = 1

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        index, rest = tokens.top(attention.score, stage.keep)
        appended = tokens.append(rest, tokens.x[:, -1])
        kept = torch.arange(index.shape[1] + 1)
        return appended.keep(kept.expand(len(index), -1))


class Skipping(KeyNorm):
    """Sets the others aside, until the third block."""

    name = "skipping"
    skips = True
    back = (2,)


class SkippingEarly(Early):
    """Sets the others aside before a block, until the head."""

    name = "skipping-early"
    skips = True


def passage(model: ReducedModel) -> Passage:
    """The tokens of a model in each half of each block."""
    size = model.backbone.image_size
    patches, stages = model.backbone.num_patches(size), model.stages()
    return tokens_per_block(model.backbone, patches, model.method, stages)


FIXED = [
    name
    for name, offer in load().methods.items()
    if offer.cls.reduces and not offer.cls.requires_weights and not offer.cls.keeps_per_image
]


@pytest.mark.parametrize("name", FIXED)
def test_the_floor_has_the_counts_of_the_method_in_every_half_block(
    name: str, backbone: Backbone
) -> None:
    reduced = reduced_by(backbone, registry().method(name)(), None, "65%")
    floor = floor_of(reduced, reduced.backbone.image_size)
    if not reduced.stages():  # it makes the input smaller, and does nothing else
        assert floor is None
        return
    assert floor is not None
    found, wanted = passage(floor), passage(reduced)
    assert (found.attention, found.feed_forward) == (wanted.attention, wanted.feed_forward)


def test_no_measured_model_looks_at_values_at_its_end(backbone: Backbone) -> None:
    reduced = reduced_by(backbone, registry().method("random")(), "keep=0.6@1", None)
    floor = floor_of(reduced, backbone.image_size)
    assert floor is not None
    assert (reduced.check_values, floor.check_values) == (False, False)


@pytest.mark.parametrize("method", [Early(), Appending(), Skipping(), SkippingEarly()])
@pytest.mark.parametrize("schedule", ["keep=0.6@1,2", "12@0,5@3"])
def test_the_floor_follows_methods_that_append_skip_or_act_before_a_block(
    method: Method, schedule: str, backbone: Backbone
) -> None:
    reduced = reduced_by(backbone, method, schedule, None)
    floor = floor_of(reduced, backbone.image_size)
    assert floor is not None
    found, wanted = passage(floor), passage(reduced)
    assert (found.attention, found.feed_forward) == (wanted.attention, wanted.feed_forward)
    with torch.inference_mode():
        floor(floor.backbone.example(1))
    assert floor.token_counts[0].tolist() == list(found.after)


def test_there_is_no_floor_where_images_differ_or_nothing_is_removed(backbone: Backbone) -> None:
    for name, schedule in (("ats", "keep=0.6@1,2"), ("random", "keep=1@1")):
        reduced = reduced_by(backbone, registry().method(name)(), schedule, None)
        assert floor_of(reduced, backbone.image_size) is None


def test_every_model_is_timed_in_every_round_and_methods_with_the_same_counts_share_a_floor(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Contender] = []
    build = Contender.__init__

    def noted(self: Contender, *arguments: Any) -> None:
        made.append(self)
        build(self, *arguments)

    monkeypatch.setattr(Contender, "__init__", noted)
    models = {
        name: reduced_by(backbone, registry().method(method)(), "keep=0.6@1,2", None)
        for name, method in (("a", "random"), ("b", "norm"), ("c", "zero-tprune"))
    }
    found = measure_speed(models, ONE, Rounds(3, 3, 0))
    assert [len(one.reduced.seconds) for one in found.values()] == [3, 3, 3]
    assert len({id(one.unpruned) for one in found.values()}) == 1
    assert found["a"].floor is found["b"].floor
    # the unpruned model, three methods, and the floors of two places
    assert len(made) == 6
    assert all(one.floor is not None and one.error is None for one in found.values())


def test_a_model_that_fails_is_a_row_with_its_error_and_the_others_go_on(
    backbone: Backbone,
) -> None:
    models = {
        method.name: reduced_by(backbone, method, "keep=0.6@1", None)
        for method in (Broken(), KeyNorm())
    }
    found = measure_speed(models, ONE, TWO_ROUNDS)
    assert "no such place" in str(found["broken"].error)
    assert found["key-norm"].error is None
    assert len(found["key-norm"].ratios) == 2


@pytest.mark.parametrize("turns", [0, 4])
def test_a_measurement_that_is_ended_has_no_figures(turns: int, backbone: Backbone) -> None:
    models = {"random": reduced_by(backbone, registry().method("random")(), "r=2", None)}
    left = iter([True] * turns)
    assert not measure_speed(models, ONE, TWO_ROUNDS, watch=lambda turn, share: next(left, False))


def test_all_models_are_compiled_or_none(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[object] = []

    def compile_(model: Callable[[Tensor], Tensor], *, dynamic: bool) -> Callable[..., Tensor]:
        compiled.append(model)
        assert not dynamic
        return model

    monkeypatch.setattr(torch, "compile", compile_)
    models = {"random": reduced_by(backbone, registry().method("random")(), "r=2", None)}
    measure_speed(models, ONE, TWO_ROUNDS)
    assert compiled == []
    measure_speed(models, Treatment("32-true", "cpu", 1, compiled=True), TWO_ROUNDS)
    assert [type(model) for model in compiled] == [
        type(backbone.plain),
        ReducedModel,
        ReducedModel,
    ]


def test_the_figures_are_worked_out_from_pairs_of_rounds() -> None:
    unpruned = ModelSpeed((2.0,) * 8, 4, macs=4e9)
    reduced = ModelSpeed((1.0, 1.0, 1.0, 1.25, 1.25, 1.6, 1.6, 2.0), 4, macs=2e9)
    floor = ModelSpeed((1.0,) * 8, 4, macs=2e9)
    found = SpeedUp(reduced, unpruned, floor)
    assert (found.ratio, found.promised, found.fraction) == (1.6, 2, 0.8)
    # the smallest and the largest of eight: the sign test's at 95 %
    assert found.fraction_interval() == (1 / 2, 2 / 2)
    assert found.floor_ratio == 2
    assert reduced.images_per_second == 4 / 1.25
    assert [reduced.milliseconds(share) for share in (0.5, 0.95)] == [1250, 2000]


@pytest.mark.parametrize(
    ("falling", "counted"),
    [
        ([9, 8, 6, 1, 1, 1, 1], [1, 1]),  # from the first that the next is as slow as
        ([9, 1, 1, 5, 5, 5, 5], [1, 1]),
        ([64, 32, 16, 8, 4, 2, 1, 0.5], [2, 1]),  # but not for ever
    ],
)
def test_rounds_count_once_their_times_have_settled(
    falling: list[float], counted: list[float]
) -> None:
    seconds = iter(falling)
    found = in_turns([lambda: next(seconds)], Rounds(2, 2, 1000), clock=lambda: 0.0)
    assert [one for (one,) in found] == counted


class Event:
    """A CUDA event on a clock of its own, in milliseconds."""

    now = 0.0

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self.at = -1.0

    def record(self) -> None:
        self.at = Event.now

    def synchronize(self) -> None:
        assert self.at >= 0

    def elapsed_time(self, end: Event) -> float:
        return end.at - self.at


def test_a_gpu_is_timed_by_its_own_clock_in_turns_that_fill_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Event)

    def batch() -> None:
        Event.now += 8

    contenders = []
    for _ in range(2):
        contender = Contender(lambda inputs: batch(), torch.zeros(1), ONE)
        contender.device = torch.device("cuda")
        contenders.append(contender)
    fill_turns(contenders, batch_size=1)
    assert [one.repeats for one in contenders] == [1, 1]
    fill_turns(contenders, batch_size=16)
    assert [one.repeats for one in contenders] == [7, 7]  # of 8 ms, to fill 50
    began = Event.now
    assert contenders[1].seconds() == pytest.approx(0.008)
    assert Event.now - began == 7 * 8


def test_the_shares_of_time_sum_to_one_and_leave_the_method_as_it_was(backbone: Backbone) -> None:
    method = registry().method("zero-tprune")()
    before = dict(vars(method))
    shares = time_shares(reduced_by(backbone, method, "keep=0.6@1,2", None), ONE, passes=1)
    assert shares.backbone + shares.scoring + shares.reducing == pytest.approx(1)
    assert min(shares.backbone, shares.scoring, shares.reducing) > 0
    assert vars(method) == before
