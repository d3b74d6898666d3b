"""Many differences are corrected together, and said in words that hold what the figures do."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeprate.analysis.statistics import Difference, compare_runs, difference, holm, judge

shares = st.lists(st.floats(0, 1), max_size=12)


def outcomes(right: int, wrong: int, images: int = 1000) -> list[bool]:
    """Against all of 800 right: the first `wrong` of them are not, and `right` others are."""
    ones = [False] * wrong + [True] * (800 - wrong + right)
    return ones + [False] * (images - len(ones))


REFERENCE = outcomes(0, 0)


@pytest.mark.parametrize(
    ("plain", "adjusted"),
    [
        # as statsmodels 0.15 has it, multipletests(..., method="holm")
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.02, 0.02], [0.5, 0.06, 0.06]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holm_known_cases(plain: list[float], adjusted: list[float]) -> None:
    assert holm(plain) == pytest.approx(adjusted)


@given(shares)
def test_holm_lies_between_the_plain_p_value_and_bonferronis(plain: list[float]) -> None:
    for before, after in zip(plain, holm(plain), strict=True):
        assert before <= after <= min(1.0, len(plain) * before) + 1e-12


@given(shares, st.randoms())
def test_holm_keeps_the_order_and_does_not_depend_on_it(plain: list[float], random: Random) -> None:
    found = dict(zip(plain, holm(plain), strict=True))
    mixed = plain.copy()
    random.shuffle(mixed)
    assert holm(mixed) == [found[each] for each in mixed]
    assert [found[each] for each in sorted(plain)] == sorted(found[each] for each in plain)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_what_is_no_p_value_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^p-values lie between 0 and 1$"):
        holm([0.5, wrong])


def test_each_run_is_compared_and_all_are_corrected() -> None:
    runs = {"up": outcomes(60, 20), "same": outcomes(22, 20), "down": outcomes(10, 60)}
    found = compare_runs(runs, REFERENCE)
    plain = {name: difference(run, REFERENCE) for name, run in runs.items()}
    assert {name: each.p_value for name, each in found.items()} == {
        name: each.p_value for name, each in plain.items()
    }
    adjusted = [each.adjusted_p_value for each in found.values()]
    assert adjusted == holm([each.p_value for each in plain.values()])
    assert found["up"].difference == pytest.approx(4.0)
    assert found["down"].low == pytest.approx(100 * plain["down"].low)
    assert [each.distinguishable for each in found.values()] == [True, False, True]


def test_the_words() -> None:
    runs = {"up": outcomes(60, 20), "same": outcomes(22, 20), "down": outcomes(10, 60)}
    assert {name: each.verdict for name, each in compare_runs(runs, REFERENCE).items()} == {
        "up": "better by 4.0 points [2.3, 5.8]",
        "same": "not distinguishable (difference +0.2 points [-1.1, 1.5], adjusted p = 0.878)",
        "down": "worse by 5.0 points [3.5, 6.7]",
    }


def test_a_run_that_stands_out_alone_may_not_among_many() -> None:
    run = outcomes(30, 14)
    alone = compare_runs({"one": run}, REFERENCE)["one"]
    among = compare_runs({"one": run, **{str(n): REFERENCE for n in range(9)}}, REFERENCE)["one"]
    assert alone.p_value == among.p_value < 0.05
    assert alone.distinguishable
    assert not among.distinguishable
    assert among.adjusted_p_value == pytest.approx(10 * among.p_value)


@pytest.mark.parametrize(
    ("share", "half", "said"),
    [
        (0.024, 0.016, "better by 2.4 points [0.8, 4.0]"),
        (0.0005, 0.0003, "better by 0.050 points [0.020, 0.080]"),
        (-0.004, 0.003, "worse by 0.40 points [0.10, 0.70]"),
        (-0.25, 0.11, "worse by 25.0 points [14.0, 36.0]"),
    ],
)
def test_the_words_show_as_much_as_the_interval_knows(share: float, half: float, said: str) -> None:
    found = judge({"run": Difference(share, share - half, share + half, 0.001)})["run"]
    assert found.verdict == said


def test_nothing_is_said_of_a_difference_whose_interval_holds_zero() -> None:
    found = judge({"run": Difference(0.01, -0.001, 0.021, 0.049)})["run"]
    assert not found.distinguishable
    assert found.verdict.startswith("not distinguishable (difference +1.0 points [-0.1, 2.1]")


def test_zero_has_no_sign_and_no_width_no_end() -> None:
    found = judge({"run": Difference(-1e-9, 0.0, 0.0, 1.0)})["run"]
    assert found.verdict == (
        "not distinguishable (difference +0.0 points [0.0, 0.0], adjusted p = 1.000)"
    )


def test_a_level_of_99_percent_asks_for_more() -> None:
    runs = {"one": outcomes(30, 14)}
    at_95, at_99 = (compare_runs(runs, REFERENCE, level)["one"] for level in (0.95, 0.99))
    assert (at_95.distinguishable, at_99.distinguishable) == (True, False)
    assert at_99.low < at_95.low


def test_families_may_have_any_names_and_several_seeds() -> None:
    seeded = np.array([outcomes(60, 20), outcomes(50, 20), outcomes(55, 22)])
    found = judge(
        {("tome", 0.8): difference(seeded, REFERENCE), ("tome", 0.65): difference(seeded, seeded)}
    )
    assert found["tome", 0.8].distinguishable
    assert found["tome", 0.8].difference == pytest.approx(100 * (seeded.mean() - 0.8))
    assert not found["tome", 0.65].distinguishable


def test_nothing_to_compare_is_no_error() -> None:
    assert compare_runs({}, REFERENCE) == {}
