"""Tokens that a method appends: what they stand for, how they are counted, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import keeprate
from broken_appends import Forgotten, MeanRest, Uncounted, Undeclared
from keeprate import KeeprateError, Stage, Tokens
from keeprate.backbones.lookup import adapt
from keeprate.reduction.macs import tokens_per_block
from keeprate.reduction.schedule import parse_schedule
from references.tiny import images_for, random_tokens, tiny_vit


def test_an_appended_token_takes_sizes_and_patches_and_the_place_of_the_first() -> None:
    tokens = replace(random_tokens(2, 5, sizes=True, trace=True), follows_positions=True)
    tokens = tokens.with_token_state(number=torch.arange(6.0).expand(2, -1))
    source = torch.tensor([[4, 1], [5, 2]])
    x = torch.randn(2, 6, dtype=torch.float64)
    after = tokens.append(source, x)
    for image, stay in enumerate([[0, 2, 3, 5], [0, 1, 3, 4]]):
        gone, size = source[image].tolist(), tokens.size[image]
        assert torch.equal(after.x[image], torch.cat([tokens.x[image, stay], x[image, None]]))
        assert after.size[image].tolist() == [*size[stay].tolist(), float(size[gone].sum())]
        places = [*stay, gone[0]]
        assert after.position[image].tolist() == places
        assert after.token_state["number"][image].tolist() == places
        new = {old: place for place, old in enumerate(stay)} | dict.fromkeys(gone, 4)
        assert after.owner[image].tolist() == [new[patch] for patch in range(1, 6)]
    assert after.has_merged
    assert tokens.count == 6


def test_one_token_alone_can_be_replaced() -> None:
    tokens = random_tokens(1, 3, trace=True)
    after = tokens.append(torch.tensor([[2]]), torch.zeros(1, 6, dtype=torch.float64))
    assert after.owner.tolist() == [[1, 3, 2]]
    assert after.size.tolist() == [[1.0] * 4]


MISTAKES = {
    "none": (
        torch.empty(1, 0, dtype=torch.int64),
        torch.zeros(1, 6).double(),
        "tokens.append: source names no token: what is appended holds what at least one had.",
    ),
    "twice": (
        torch.tensor([[1, 1]]),
        torch.zeros(1, 6).double(),
        "tokens.append: position 1 of image 0 is twice in source: a token stays or merges, once.",
    ),
    "outside": (
        torch.tensor([[4]]),
        torch.zeros(1, 6).double(),
        "tokens.append: source names position 4 of image 0, which has 4 tokens: positions are 0 "
        "to 3, prefix tokens first.",
    ),
    "features": (
        torch.tensor([[1]]),
        torch.zeros(1, 1, 6).double(),
        "tokens.append: x must be the features of one token of each image, torch.float64 (1, 6), "
        "not torch.float64 (1, 1, 6).",
    ),
    "type": (
        torch.tensor([[1]]),
        torch.zeros(1, 6),
        "tokens.append: x must be the features of one token of each image, torch.float64 (1, 6), "
        "not torch.float32 (1, 6).",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_word_for_word(mistake: str) -> None:
    source, x, message = MISTAKES[mistake]
    with pytest.raises(KeeprateError) as refused:
        random_tokens(1, 3).append(source, x)
    assert str(refused.value) == message


SCHEDULES = {
    "18@0,11@1,8@3": [18, 11, 8],
    "18@0,19@1,8@3": [18, 19, 8],  # the second keeps all there are, and so appends nothing
    "r=3": [22, 20, 18, 16],
    "keep=0.5@0,1,2": [12, 6, 3],
}
LEFT = {
    "18@0,11@1,8@3": [19, 12, 12, 9],
    "18@0,19@1,8@3": [19, 19, 19, 9],
    "r=3": [23, 21, 19, 17],
    "keep=0.5@0,1,2": [13, 7, 4, 4],
}


@pytest.mark.parametrize("text", SCHEDULES)
def test_stages_and_costs_count_what_is_appended(text: str) -> None:
    model = tiny_vit()
    stages = parse_schedule(text).stages(MeanRest(), 25, 4)
    assert [stage.keep for stage in stages] == SCHEDULES[text]
    passage = tokens_per_block(adapt(model), 25, MeanRest(), stages)
    assert passage.after == tuple(1 + left for left in LEFT[text])
    reduced = keeprate.reduce(model, MeanRest(), text)
    with torch.inference_mode():
        reduced(images_for(model))
    assert reduced.token_counts[0].tolist() == [1 + left for left in LEFT[text]]
    assert reduced.macs_per_image.total.tolist() == [reduced.costs().total] * 3


def test_more_than_is_left_is_refused_with_what_was_appended() -> None:
    with pytest.raises(KeeprateError, match="keeps 20 patch tokens at block 1, where 1 to 19 are"):
        parse_schedule("18@0,20@1").stages(MeanRest(), 25, 4)


@pytest.mark.parametrize(
    ("method", "said", "remedy"),
    [
        (Undeclared(), "kept 19 patch tokens where 18 were scheduled", "declared: appends = 1."),
        (
            Forgotten(),
            "kept 18 patch tokens where 18 and 1 to append were scheduled",
            "prefix tokens not counted.",
        ),
    ],
)
def test_a_token_more_or_less_than_declared_is_refused(
    method: MeanRest, said: str, remedy: str
) -> None:
    model = tiny_vit()
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(model, method, "18@0")(images_for(model))
    assert f"at block 0 {said}" in str(refused.value)
    assert str(refused.value).endswith(remedy)


def test_what_is_no_number_of_tokens_is_refused_before_anything_runs() -> None:
    with pytest.raises(KeeprateError, match=r"declares appends = 0\.5: it is a number of tokens"):
        keeprate.reduce(tiny_vit(), Uncounted(), "18@0")


class Rounded(MeanRest):
    """Counts a keep rate as a share of what enters, rounded up."""

    name = "rounded"

    def kept_at_rate(self, entering: int, rate: float) -> int:
        return -int(-rate * entering // 1)


def test_a_method_counts_keep_rates_itself_also_for_a_budget() -> None:
    assert [s.keep for s in parse_schedule("keep=0.5@0,1").stages(Rounded(), 25, 4)] == [13, 7]
    scaled = parse_schedule("keep=0.5@0,1").stages(Rounded(), 25, 4, scale=2.0)
    assert [stage.keep for stage in scaled] == [7, 2]
    model = tiny_vit()
    reduced = keeprate.reduce(model, Rounded(), "keep@0,1", budget="60%")
    full = keeprate.macs(model)
    assert 0.5 * full < reduced.costs().total <= 0.6 * full


def test_an_appended_token_is_drawn_as_merged() -> None:
    from keeprate.visualization.colours import merged_groups
    from keeprate.visualization.token_sheet import tokens_left

    model = tiny_vit()
    reduced = keeprate.reduce(model, MeanRest(), "18@0,8@2", trace=True)
    with torch.inference_mode():
        reduced(images_for(model))
    for stage, keep in zip(reduced.survivors, (18, 8), strict=True):
        owners = stage.owner[0].reshape(5, 5).numpy()
        assert tokens_left(owners) == keep + 1
        assert keep + 1 in merged_groups(owners)


class Watching(MeanRest):
    """Notes the grid that it is told."""

    name = "watching"

    def score(self, tokens: Tokens, attention: object, stage: Stage) -> Tensor:
        assert tokens.grid == (3, 5)
        assert tokens.rows(slice(1)).copy().grid == (3, 5)
        return tokens.size


def test_methods_are_told_rows_and_columns_of_the_patches() -> None:
    model = tiny_vit(img_size=(12, 20))
    keeprate.reduce(model, Watching(), "8@0,4@1")(images_for(model))
    assert random_tokens().grid is None
