"""Tokens that skip blocks: what is computed, what it costs, how they come back, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import keeprate
from broken_methods import LongKeys
from broken_skips import Merged, Skip
from keeprate import KeeprateError, Method, Place, Stage, Tokens
from keeprate.backbones.lookup import adapt
from keeprate.plugins.parameters import build, values_of
from keeprate.plugins.registry import registry
from keeprate.reduction.plan import make_plan
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.reduction.schedule import parse_schedule
from keeprate.reduction.shared_forward import SharedForward, shared_macs
from references.skipping import skipped_logits
from references.tiny import images_for, random_tokens, tiny_vit

AVERAGE = "vit_base_patch16_siglip_gap_224"


class Longest(Method):
    """Ranks by the length of what leaves the attention, and lets the rest skip."""

    name = "longest"
    skips = True
    scores_block_output = True

    def __init__(self, back: tuple[int, ...] = (), place: Place = Place.AFTER_ATTENTION) -> None:
        self.back = back
        self.place = place

    def score(self, tokens: Tokens, attention: object, stage: Stage) -> Tensor:
        return tokens.x.float().norm(dim=2)


def skipping(batch: int = 2, patches: int = 6, **options: Any) -> Tokens:
    return replace(random_tokens(batch, patches, trace=True, **options), sets_aside=True)


CASES = {
    "before the head": ("18@0,10@1,7@3", (), [18, 10, 10, 25]),
    "at a block with a stage": ("18@0,20@2,7@3", (2,), [18, 25, 20, 25]),
    "at blocks without one": ("9@0,5@2", (1, 3), [25, 25, 25, 25]),
}


@pytest.mark.parametrize("name", [AVERAGE, "vit_tiny_patch16_224"])
@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_the_written_out_model(name: str, case: str) -> None:
    schedule, back, left = CASES[case]
    model = tiny_vit(name).double()
    reduced = keeprate.reduce(model, Longest(back), schedule)
    images, stages = images_for(model), {stage.block: stage.keep for stage in reduced.stages()}
    with torch.inference_mode():
        found = reduced(images)
        ranking = lambda block, x: x.float().norm(dim=1)  # noqa: E731
        expected = skipped_logits(model, images, ranking, stages, back)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert reduced.token_counts[0].tolist() == [n + adapt(model).num_prefix for n in left]


@pytest.mark.parametrize(
    ("case", "place"),
    list(zip(CASES, (Place.AFTER_BLOCK, *[Place.AFTER_ATTENTION] * 2), strict=True)),
)
def test_the_ruler_counts_what_torch_counts(case: str, place: Place) -> None:
    schedule, back, _ = CASES[case]
    model = tiny_vit(AVERAGE).to("meta")
    reduced = keeprate.reduce(model, Longest(back, place), schedule)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        reduced(torch.empty(1, 3, 20, 20, device="meta"))
    assert counter.get_total_flops() // 2 == reduced.costs().total


@pytest.mark.parametrize("case", CASES)
def test_a_pass_costs_what_its_schedule_says(case: str) -> None:
    schedule, back, _ = CASES[case]
    model = tiny_vit(AVERAGE)
    for place in Place:
        reduced = keeprate.reduce(model, Longest(back, place), schedule)
        with torch.inference_mode():
            reduced(images_for(model, 1))
        assert reduced.macs_per_image.total.tolist() == [reduced.costs().total]


def test_an_attention_pooling_head_costs_all_tokens_again() -> None:
    model = tiny_vit("vit_base_patch16_siglip_224")
    skip, drop = (keeprate.reduce(model, cls(), "9@0") for cls in (Longest, Dropping))
    per_token = adapt(model).head_cost().per_token
    assert per_token > 0
    assert skip.costs().head - drop.costs().head == 16 * per_token


class Dropping(Longest):
    """Drops the rest."""

    name = "dropping"
    skips = False


def test_a_budget_is_solved_for_the_cost_with_what_comes_back() -> None:
    model = tiny_vit(AVERAGE)
    full = keeprate.macs(model)
    kept = {}
    for back in ((), (2,)):
        reduced = keeprate.reduce(model, Longest(back), "keep@1,2", budget="80%")
        with torch.inference_mode():
            reduced(images_for(model))
        assert 0.77 * full < reduced.macs_per_image.total[0] <= 0.8 * full
        kept[back] = reduced.stages()[0].keep
    assert kept[2,] < kept[()]


def test_removals_and_limits_count_what_came_back() -> None:
    stages = parse_schedule("r=10").stages(Longest((2,)), 25, 4)
    assert [stage.keep for stage in stages] == [15, 5, 15, 5]
    with pytest.raises(KeeprateError, match="keeps 19 patch tokens at block 1, where 1 to 18 are"):
        parse_schedule("18@0,19@1").stages(Longest(), 25, 4)


def test_tokens_come_back_in_their_order_as_they_were() -> None:
    tokens = skipping(sizes=True).with_token_state(number=torch.arange(7.0).expand(2, -1))
    left = tokens.keep(torch.tensor([[0, 6, 2, 1], [0, 3, 4, 5]]))
    assert left.aside is not None
    assert left.aside.position.tolist() == [[3, 4, 5], [1, 2, 6]]
    assert left.owner.tolist() == [[3, 2, -2, -3, -4, 1], [-2, -3, 1, 2, 3, -4]]
    left = left.with_x(left.x * 3).keep(torch.tensor([[0, 2], [0, 1]]))
    assert left.owner.tolist() == [[-6, 1, -2, -3, -4, -5], [-2, -3, 1, -5, -6, -4]]
    back = left.with_x(left.x * 2).bring_back()
    for image, (twice, thrice) in enumerate((([0, 2], [6, 1]), ([0, 3], [4, 5]))):
        expected = tokens.x[image].clone()
        expected[twice], expected[thrice] = expected[twice] * 6, expected[thrice] * 3
        assert torch.equal(back.x[image], expected)
    assert torch.equal(back.size, tokens.size)
    assert torch.equal(back.owner, tokens.owner)
    assert torch.equal(back.token_state["number"], tokens.token_state["number"])
    assert back.aside is None
    assert back.sets_aside


def test_what_came_back_merges_and_goes_as_ever() -> None:
    back = skipping().keep(torch.tensor([[0, 2, 4], [0, 1, 6]])).bring_back()
    merged = back.merge(torch.tensor([[1], [2]]), torch.tensor([[2], [3]]))
    assert merged.size.tolist() == [[1, 2, 1, 1, 1, 1], [1, 1, 2, 1, 1, 1]]
    assert merged.owner.tolist() == [[1, 1, 2, 3, 4, 5], [1, 2, 2, 3, 4, 5]]
    again = merged.keep(torch.tensor([[0, 1], [0, 2]])).bring_back()
    assert torch.equal(again.size, merged.size)
    assert torch.equal(again.owner, merged.owner)


def test_images_that_keep_other_numbers_get_all_back() -> None:
    tokens = skipping()
    valid = torch.tensor([[True, True, True], [True, True, False]])
    left = tokens.keep(torch.tensor([[0, 4, 2], [0, 3, 0]]), valid)
    assert left.aside is not None
    assert left.aside.counts.tolist() == [4, 5]
    back = left.bring_back()
    assert torch.equal(back.x, tokens.x)
    assert torch.equal(back.owner, tokens.owner)
    assert back.counts.tolist() == [7, 7]
    assert back.keep_top(back.size, 2).bring_back().counts.tolist() == [7, 7]


class LongSkip(LongKeys):
    """Lets the keys that are shorter than the average skip."""

    name = "long-skip"
    skips = True
    back = (2,)


def test_a_method_that_counts_per_image_costs_what_came_back() -> None:
    model = tiny_vit(AVERAGE).double()
    reduced = keeprate.reduce(model, LongSkip(), "20@0,20@2")
    images = images_for(model)
    with torch.inference_mode():
        together = reduced(images)
        counts = reduced.token_counts
        alone = torch.cat([reduced(image[None]) for image in images])
    torch.testing.assert_close(together, alone)
    assert (counts[:, [1, 3]] == 25).all()
    assert (counts[:, [0, 2]] < 25).all()
    assert len(set(counts[:, 0].tolist())) > 1


def test_a_state_of_the_kept_tokens_alone_is_refused() -> None:
    left = skipping(1, 3).keep(torch.tensor([[0, 1]])).with_token_state(new=torch.zeros(1, 2))
    with pytest.raises(KeeprateError) as refused:
        left.bring_back()
    assert str(refused.value) == (
        "token_state['new'] is not that of all tokens, and some are set aside: set it for all of "
        "them before some leave (with_token_state, then keep_top)."
    )


MISTAKES: dict[str, tuple[dict[str, object], str]] = {
    "no blocks": (
        {"skips": True, "back": 6},
        "declares back = 6: it is a tuple of blocks, from 1 and ascending, before which all tokens "
        "come back; () for before the head alone.",
    ),
    "the first block": ({"skips": True, "back": (0, 2)}, "declares back = (0, 2): it is a tuple"),
    "nothing aside": (
        {"skips": False, "back": (2,)},
        "declares back = (2,) and sets nothing aside: only what skips comes back (skips = True).",
    ),
    "no such block": (
        {"skips": True, "back": (4,)},
        "brings tokens back before block 4, and the blocks are 0 to 3; before the head they come "
        "back in any case.",
    ),
    "appends": (
        {"skips": True, "back": (), "appends": 1},
        "skips and appends 1 to what it keeps: a token that comes back cannot be in an appended "
        "one as well. Do one of the two.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_before_anything_runs(mistake: str) -> None:
    declared, said = MISTAKES[mistake]
    method = Longest()
    vars(method).update(declared)
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(tiny_vit(), method, "9@1")
    assert str(refused.value).startswith(f"Method 'longest' {said}")


def test_a_token_that_is_merged_instead_is_refused_with_its_line() -> None:
    model = tiny_vit()
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(model, Merged(), "18@0")(images_for(model))
    said = "'merged' at block 0 skips, and 7 of the tokens it was given are neither kept nor set"
    assert said in str(refused.value)
    assert "broken_skips.py:" in str(refused.value)


RUNS: tuple[tuple[str, str | None, dict[str, object]], ...] = (
    ("full", None, {}),
    ("random", "keep=0.7@1,3", {}),
    ("random", "keep=0.7@1,3", {"on_drop": "skip"}),
    ("random", "keep=0.7@1,2", {"on_drop": "skip", "back": (3,)}),
    ("random", "keep=0.7@1,3", {"on_drop": "skip", "back": (3,)}),
    ("zero-tprune", "keep=0.6@1,2", {"on_drop": "skip"}),
)


def models_of(model: nn.Module) -> dict[str, ReducedModel]:
    backbone, models = adapt(model), {}
    for name, schedule, values in RUNS:
        method = build("method", registry().method(name), values)
        plan = make_plan(backbone, method, schedule, None)
        models[f"{name} {schedule} {values}"] = ReducedModel(backbone, plan)
    return models


def test_runs_that_skip_share_a_pass_and_give_their_bits() -> None:
    model = tiny_vit(AVERAGE)
    models, images, index = models_of(model), images_for(model), torch.arange(3)
    with torch.inference_mode():
        found = SharedForward(models)(images, index, list(models))
        assert found.failed == {}
        for name, reduced in models.items():
            assert torch.equal(found.logits[name], reduced(images, index)), name
    # the last two random runs share the stage at block 1 and all before it
    pair = [models[name] for name in list(models)[3:5]]
    apart = sum(reduced.costs().total for reduced in pair)
    assert shared_macs(pair, (20, 20)) < apart - keeprate.macs(model) / 4


def test_a_class_token_head_sees_what_it_sees_when_tokens_are_dropped() -> None:
    model = tiny_vit().double()
    images = images_for(model)
    skip, drop = (keeprate.reduce(model, "random", "9@1,5@2", on_drop=gone) for gone in GONE)
    with torch.inference_mode():
        torch.testing.assert_close(skip(images), drop(images), rtol=1e-12, atol=1e-12)
    assert skip.costs() == drop.costs()


GONE = ("skip", "drop")


def test_the_last_mlp_of_the_class_token_alone_brings_nothing_back() -> None:
    model = tiny_vit().double()
    reduced = keeprate.reduce(model, "random", "9@1", on_drop="skip", empty_last_mlp=True)
    plain = keeprate.reduce(model, "random", "9@1", on_drop="skip")
    images = images_for(model)
    with torch.inference_mode():
        torch.testing.assert_close(reduced(images), plain(images))
    assert reduced.token_counts[0].tolist() == [26, 10, 10, 1]
    assert reduced.macs_per_image.total.tolist() == [reduced.costs().total] * 3


def test_pictures_show_what_is_aside_and_that_it_comes_back() -> None:
    model = tiny_vit(AVERAGE)
    reduced = keeprate.reduce(model, Skip((2,)), "18@0,8@2", trace=True)
    with torch.inference_mode():
        reduced(images_for(model))
    found = [
        (moment.block, moment.came_back, int((moment.owner[0] >= 0).sum()))
        for moment in reduced.survivors
    ]
    assert found == [(0, False, 18), (1, True, 25), (2, False, 8), (3, True, 25)]
    assert int((reduced.survivors[0].owner[0] < -1).sum()) == 7


def test_a_run_that_skips_is_made_again_from_what_is_stored_of_it() -> None:
    method = build("method", registry().method("random"), {"on_drop": "skip", "back": "2,4"})
    stored = json.loads(json.dumps(values_of(method)))
    assert stored == {"seed": 0, "place": "after-attention", "on_drop": "skip", "back": [2, 4]}
    again = build("method", registry().method("random"), stored)
    assert isinstance(again, Method)
    assert (again.skips, again.back) == (True, (2, 4))
