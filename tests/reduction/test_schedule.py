"""Schedules: every spelling becomes patch tokens kept at each stage, or an error worth reading."""

from __future__ import annotations

import itertools
from math import floor, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeprate import KeeprateError, Method, Place
from keeprate.reduction.schedule import parse_schedule, scaled_blocks

SPELLINGS = (
    "Write keep=0.7@3,6,9, r=13, r=16..0, r=8,8,6,... (one per block), depth=13, sqrt-depth=13, "
    "137@3,96@6, or a preset of the method."
)


class AnyMethod(Method):
    """Removes what it is told, all but one token if need be."""

    name = "any"


class HalfMethod(AnyMethod):
    """Removes half of the tokens at most."""

    name = "half"

    def most_removed(self, patches: int) -> int:
        return patches // 2


class BlockMethod(AnyMethod):
    """Acts after the block, at the built-in default blocks of Zero-TPrune."""

    place = Place.AFTER_BLOCK
    default_blocks = (1, 3, 5, 7, 9)


def stages(
    text: str,
    *,
    method: Method | None = None,
    patches: int = 196,
    depth: int = 12,
    scale: float | None = None,
) -> list[tuple[int, int]]:
    found = parse_schedule(text).stages(method or AnyMethod(), patches, depth, scale)
    assert all(stage.depth == depth for stage in found)
    return [(stage.block, stage.keep) for stage in found]


def keeps(text: str, **options: object) -> list[int]:
    return [keep for _, keep in stages(text, **options)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keep=0.9@3,6,9", [(3, 176), (6, 158), (9, 142)]),
        ("keep=0.7@3,6,9", [(3, 137), (6, 96), (9, 67)]),
        ("keep=0.5@3,6,9", [(3, 98), (6, 49), (9, 24)]),
        ("keep=.5@3", [(3, 98)]),
        ("keep=1@0,11", [(0, 196), (11, 196)]),
        ("keep=0.9,0.7,0.5@2,3,11", [(2, 176), (3, 123), (11, 61)]),
        ("keep=0.7", [(3, 137), (6, 96), (9, 67)]),
        (" keep=0.7@3 ", [(3, 137)]),
        ("keep=0.001@3,4", [(3, 1), (4, 1)]),
        ("137@3,96@6,67@9", [(3, 137), (6, 96), (9, 67)]),
        ("196@0", [(0, 196)]),
    ],
)
def test_keep_rates_and_counts(text: str, expected: list[tuple[int, int]]) -> None:
    assert stages(text) == expected


@pytest.mark.parametrize("rate", [0.9, 0.7, 0.5])
def test_a_keep_rate_keeps_the_rounded_down_power_of_it(rate: float) -> None:
    exact = {0.9: [176, 158, 142], 0.7: [137, 96, 67], 0.5: [98, 49, 24]}
    assert keeps(f"keep={rate}@3,6,9") == [int(rate**k * 196) for k in (1, 2, 3)] == exact[rate]


@pytest.mark.parametrize(
    ("rate", "patches", "keep"), [("0.7", 10, 7), ("0.1", 30, 3), ("0.29", 100, 29)]
)
def test_decimal_keep_rates_are_exact(rate: str, patches: int, keep: int) -> None:
    assert keeps(f"keep={rate}@0", patches=patches) == [keep]


def removed(text: str, **options: object) -> list[int]:
    counts = [options.get("patches", 196), *keeps(text, **options)]
    return [before - after for before, after in itertools.pairwise(counts)]


def test_r_removes_the_same_number_at_every_block() -> None:
    assert stages("r=13") == [(block, 196 - 13 * (block + 1)) for block in range(12)]


def test_a_line_is_rounded_down_at_every_block() -> None:
    expected = [int(16 - 16 * block / 11) for block in range(11)] + [0]
    assert expected == [16, 14, 13, 11, 10, 8, 7, 5, 4, 2, 1, 0]
    assert removed("r=16..0") == expected
    assert removed("r=0..4", depth=5) == [0, 1, 2, 3, 4]
    assert removed("r=7..7", depth=3) == [7, 7, 7]
    assert removed("r=5..9", depth=1) == [5]


def test_one_number_per_block_is_followed() -> None:
    assert removed("r=8,0,6,1", depth=4) == [8, 0, 6, 1]


@pytest.mark.parametrize(("text", "weight"), [("depth=13", float), ("sqrt-depth=13", sqrt)])
def test_profiles_grow_with_the_block_and_remove_the_mean_in_total(
    text: str, weight: object
) -> None:
    weights = [weight(block + 1) for block in range(12)]
    totals, running = [], 0.0
    for each in weights:
        running += 13 * 12 * each / sum(weights)
        totals.append(floor(running + 1e-5))
    assert keeps(text) == [196 - total for total in totals]
    assert keeps(text)[-1] == 196 - 13 * 12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r=13", [98, 85, 72, 59]),
        ("r=100", [98, 49, 25, 13]),
        ("r=90,50,10,50", [106, 56, 46, 23]),
        ("r=100..10", [98, 49, 25, 15]),
        ("depth=90", [160, 88, 44, 22]),
    ],
)
def test_removals_are_capped_at_what_the_method_can_remove(text: str, expected: list[int]) -> None:
    patches = 111 if text == "r=13" else 196
    assert keeps(text, method=HalfMethod(), patches=patches, depth=4) == expected


@pytest.mark.parametrize(
    ("cls", "depth", "blocks"),
    [
        (AnyMethod, 12, (3, 6, 9)),
        (AnyMethod, 24, (6, 12, 18)),
        (AnyMethod, 4, (1, 2, 3)),
        (AnyMethod, 6, (2, 3, 5)),
        (AnyMethod, 3, (1, 2)),
        (AnyMethod, 1, (0,)),
        (BlockMethod, 12, (1, 3, 5, 7, 9)),
        (BlockMethod, 24, (3, 7, 11, 15, 19)),
        (BlockMethod, 1, (0,)),
    ],
)
def test_default_blocks_scale_with_the_depth(
    cls: type[Method], depth: int, blocks: tuple[int, ...]
) -> None:
    assert scaled_blocks(cls(), depth) == blocks
    assert [block for block, _ in stages("keep=0.9", method=cls(), depth=depth)] == list(blocks)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kep=0.7",
        "keep=0.7@",
        "keep=0.7@a",
        "keep=0.7@3,",
        "keep=0.7@3@6",
        "keep@3=0.7",
        "keep@3=0.7@6",
        "keep=a@3",
        "keep=-0.5@3",
        "keep=1e-1",
        "r=-1",
        "r=1.5",
        "r=8..",
        "r=8..4..0",
        "r=8,,6",
        "depth=a",
        "depth=1,2",
        "137",
        "137@",
        "137@3,96",
        "0.7@3",
        "tome",
    ],
)
def test_anything_else_is_refused_with_the_spellings(text: str) -> None:
    with pytest.raises(KeeprateError) as refused:
        parse_schedule(text)
    assert str(refused.value) == f"'{text}' is not a schedule. {SPELLINGS}"


@pytest.mark.parametrize("text", ["keep", "keep=", "keep@3,6", "r", "r=", "depth", "sqrt-depth"])
def test_numbers_may_be_left_to_a_budget(text: str) -> None:
    assert parse_schedule(text).is_open
    assert parse_schedule(text).is_scalable
    assert 1 <= keeps(text, scale=0.5)[-1] < 196


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keep=1.2@3", "Schedule 'keep=1.2@3': a keep rate is over 0 and at most 1."),
        ("keep=0@3", "Schedule 'keep=0@3': a keep rate is over 0 and at most 1."),
        ("keep=0.5@6,3", "Schedule 'keep=0.5@6,3': blocks must ascend, each once."),
        ("keep=0.5@3,3", "Schedule 'keep=0.5@3,3': blocks must ascend, each once."),
        ("96@6,137@3", "Schedule '96@6,137@3': blocks must ascend, each once."),
        ("keep=0.7,0.5@3,6,9", "Schedule 'keep=0.7,0.5@3,6,9' gives 2 keep rates for 3 blocks."),
        ("keep=0.7,0.5", "Schedule 'keep=0.7,0.5' gives 2 keep rates for 3 blocks."),
        ("r=8,8,6", "Schedule 'r=8,8,6' gives 3 removals for 12 blocks."),
        (
            "keep=0.7@3,12",
            "Schedule 'keep=0.7@3,12' names block 12, but the model's blocks are 0 to 11.",
        ),
        ("10@40", "Schedule '10@40' names block 40, but the model's blocks are 0 to 11."),
        (
            "137@3,150@6",
            "Schedule '137@3,150@6' keeps 150 patch tokens at block 6, "
            "where 1 to 137 are possible.",
        ),
        ("0@3", "Schedule '0@3' keeps 0 patch tokens at block 3, where 1 to 196 are possible."),
        (
            "197@0",
            "Schedule '197@0' keeps 197 patch tokens at block 0, where 1 to 196 are possible.",
        ),
        ("keep", "Schedule 'keep' has no numbers: give a value or a budget."),
        ("keep@3,6", "Schedule 'keep@3,6' has no numbers: give a value or a budget."),
        ("r", "Schedule 'r' has no numbers: give a value or a budget."),
        ("sqrt-depth", "Schedule 'sqrt-depth' has no numbers: give a value or a budget."),
    ],
)
def test_mistakes_are_told_word_for_word(text: str, message: str) -> None:
    with pytest.raises(KeeprateError) as refused:
        stages(text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "removed", "left", "block", "most"),
    [("keep=0.4@3", 118, 196, 3, 98), ("100@2,40@5", 60, 100, 5, 50)],
)
def test_keep_rates_and_counts_beyond_what_a_method_can_remove_are_refused(
    text: str, removed: int, left: int, block: int, most: int
) -> None:
    with pytest.raises(KeeprateError) as refused:
        stages(text, method=HalfMethod())
    assert str(refused.value) == (
        f"Schedule '{text}' removes {removed} of {left} patch tokens at block {block}; "
        f"method 'half' can remove {most}."
    )


def test_a_scale_raises_keep_rates_and_multiplies_removals() -> None:
    assert keeps("keep=0.9@3,6", scale=2.0) == [floor(196 * 0.9**2), floor(196 * 0.9**4)]
    assert keeps("keep@3,6", scale=0.1) == [floor(196 * 2.718281828**-0.1), 160]
    assert removed("r", scale=2.5) == [2, 3] * 6
    assert removed("r=4", scale=0.5) == [2] * 12
    assert keeps("keep=0.5@3", scale=0.0) == [196]
    assert keeps("r=5", scale=0.0) == [196] * 12


SCHEDULES = st.one_of(
    st.builds(
        lambda rates, first: (
            f"keep={','.join(rates)}@{','.join(str(first + i) for i in range(len(rates)))}"
        ),
        st.lists(st.sampled_from(["1", "0.97", "0.5", "0.3", "0.01"]), min_size=1, max_size=4),
        st.integers(0, 8),
    ),
    st.builds(lambda r: f"r={r}", st.integers(0, 300)),
    st.builds(lambda a, b: f"r={a}..{b}", st.integers(0, 60), st.integers(0, 60)),
    st.builds(
        lambda rs: f"r={','.join(map(str, rs))}",
        st.lists(st.integers(0, 60), min_size=12, max_size=12),
    ),
    st.builds(
        lambda name, r: f"{name}={r}", st.sampled_from(["depth", "sqrt-depth"]), st.integers(0, 99)
    ),
    st.sampled_from(["keep=0.5", "keep=0.9"]),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    text=SCHEDULES,
    patches=st.integers(1, 300),
    cls=st.sampled_from([AnyMethod, BlockMethod, HalfMethod]),
    scale=st.one_of(st.none(), st.floats(0, 50)),
)
def test_counts_never_grow_and_never_reach_zero(
    text: str, patches: int, cls: type[Method], scale: float | None
) -> None:
    if cls is HalfMethod and scale is None and text.startswith("keep"):
        return  # may ask for more than the method can remove, which is refused
    found = keeps(text, method=cls(), patches=patches, scale=scale)
    left = patches
    for keep in found:
        assert 1 <= keep <= left
        assert left - keep <= cls().most_removed(left)
        left = keep


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=SCHEDULES, scale=st.floats(0, 20), more=st.floats(0, 20))
def test_a_larger_scale_keeps_no_token_more(text: str, scale: float, more: float) -> None:
    fewer = keeps(text, scale=scale + more)
    assert all(a >= b for a, b in zip(keeps(text, scale=scale), fewer, strict=True))
