"""Curves are read by straight lines, never beyond their ends, and compared where they overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from keeprate import KeeprateError
from keeprate.analysis.statistics import (
    BootstrapEstimate,
    Curve,
    Difference,
    Missing,
    accuracy_at,
    area_difference,
    area_under_curve,
    common_range,
    difference,
    difference_at,
    mean_over_seeds,
    pareto_front,
)

GIGA = 1e9
costs = st.lists(st.integers(1, 30), min_size=2, max_size=6, unique=True)


def run(right: int, images: int = 100) -> list[bool]:
    return [True] * right + [False] * (images - right)


def random_curve(at: list[int], seed: int, seeds: int = 1) -> Curve:
    random = np.random.default_rng(seed)
    return Curve.of((each * GIGA, random.random((seeds, 60)) < 0.6) for each in at)


CURVE = Curve.of([(4 * GIGA, run(80)), (1 * GIGA, run(50)), (2 * GIGA, run(70))])


def known(found: BootstrapEstimate | Missing) -> BootstrapEstimate:
    assert isinstance(found, BootstrapEstimate), found
    return found


def ends(found: BootstrapEstimate | Missing) -> tuple[float, float]:
    return known(found).low, known(found).high


@pytest.mark.parametrize(
    ("budget", "share"), [(1, 0.5), (1.5, 0.6), (2, 0.7), (2.5, 0.725), (4, 0.8)]
)
def test_accuracy_by_straight_lines(budget: float, share: float) -> None:
    assert known(accuracy_at(CURVE, budget * GIGA)).value == pytest.approx(share)


def test_at_a_point_it_is_the_point() -> None:
    found, expected = accuracy_at(CURVE, 2 * GIGA), mean_over_seeds(run(70))
    assert ends(found) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("budget", [0.9, 4.1])
def test_nothing_is_extrapolated(budget: float) -> None:
    reason = f"{budget:.4f} GMACs is outside the costs that were run, 1.0000 GMACs to 4.0000 GMACs"
    assert accuracy_at(CURVE, budget * GIGA) == Missing(reason)
    assert difference_at(CURVE, CURVE, budget * GIGA) == Missing(reason)


def test_area_by_hand() -> None:
    """From 1 to 2 the mean is 0.6, from 2 to 4 it is 0.75; from 1.5 to 3 it is 1.0625 / 1.5."""
    assert known(area_under_curve(CURVE)).value == pytest.approx((0.6 + 2 * 0.75) / 3)
    part = area_under_curve(CURVE, (1.5 * GIGA, 3 * GIGA))
    assert known(part).value == pytest.approx((0.5 * 0.65 + 1 * 0.725) / 1.5)


def test_area_of_the_same_run_everywhere_is_the_run() -> None:
    curve = Curve.of((cost, run(70)) for cost in (1.0, 2.0, 7.0))
    expected = mean_over_seeds(run(70))
    assert ends(area_under_curve(curve)) == pytest.approx((expected.low, expected.high))


def test_the_common_range() -> None:
    other = Curve.of([(1.5 * GIGA, run(60)), (6 * GIGA, run(90))])
    assert common_range([CURVE, other]) == (1.5 * GIGA, 4 * GIGA)
    assert common_range([CURVE]) == CURVE.range == (1 * GIGA, 4 * GIGA)
    apart = Curve.of([(4 * GIGA, run(60)), (6 * GIGA, run(90))])
    assert common_range([CURVE, apart]) is None
    assert common_range([]) is None


def test_differences_by_hand() -> None:
    other = Curve.of([(1.5 * GIGA, run(50)), (6 * GIGA, run(95))])
    area = area_difference(CURVE, other)
    expected = (0.5 * 0.65 + 2 * 0.75) / 2.5 - (0.5 + 0.75) / 2
    assert known(area).value == pytest.approx(expected)
    assert known(difference_at(CURVE, other, 3 * GIGA)).value == pytest.approx(0.75 - 0.65)


def test_missing_areas_say_why() -> None:
    apart = Curve.of([(4 * GIGA, run(60)), (6 * GIGA, run(90))])
    alone = Curve.of([(2 * GIGA, run(60))])
    assert area_difference(CURVE, apart) == Missing("the two curves share no range of costs")
    assert area_under_curve(alone) == Missing(
        "no area from 2.0000 GMACs to 2.0000 GMACs: at least two costs are needed"
    )
    outside = "6.0000 GMACs is outside the costs that were run, 1.0000 GMACs to 4.0000 GMACs"
    assert area_under_curve(CURVE, (2 * GIGA, 6 * GIGA)) == Missing(outside)
    assert area_difference(apart, CURVE, (4 * GIGA, 6 * GIGA)) == Missing(outside)


@given(costs, st.integers(0, 99), st.integers(1, 3))
def test_a_curve_does_not_depend_on_the_order_of_its_points_or_images(
    at: list[int], seed: int, seeds: int
) -> None:
    curve = random_curve(at, seed, seeds)
    points: list[tuple[float, NDArray[np.float64]]] = [
        (float(cost), outcomes[:, ::-1])
        for cost, outcomes in zip(curve.costs, curve.outcomes, strict=True)
    ]
    again = Curve.of(reversed(points))
    assert ends(area_under_curve(again)) == pytest.approx(ends(area_under_curve(curve)), abs=1e-3)


@given(costs, st.integers(0, 99), st.integers(1, 3))
def test_the_area_is_the_mean_of_the_accuracies(at: list[int], seed: int, seeds: int) -> None:
    curve = random_curve(at, seed, seeds)
    knots = np.linspace(*curve.range, 20_001)
    middle = (knots[1:] + knots[:-1]) / 2
    expected = np.interp(middle, curve.costs, curve.outcomes.mean(axis=(1, 2))).mean()
    assert known(area_under_curve(curve)).value == pytest.approx(expected, abs=1e-4)


@given(costs, costs, st.integers(0, 99))
def test_swapping_the_curves_turns_the_difference_round(
    at: list[int], others: list[int], seed: int
) -> None:
    a, b = random_curve(at, seed, 2), random_curve(others, seed + 1)
    found, turned = area_difference(a, b), area_difference(b, a)
    if common_range([a, b]) is None:
        assert isinstance(found, Missing)
        assert found == turned
    else:
        assert ends(found) == pytest.approx([-each for each in reversed(ends(turned))], abs=1e-3)


def test_a_curve_against_itself_is_no_difference() -> None:
    found = area_difference(CURVE, CURVE)
    assert isinstance(found, Difference)
    assert (found.value, found.p_value) == (0.0, 1.0)


def test_points_that_share_images_keep_their_correlation() -> None:
    """Halfway between two runs that are right on the same images is less certain than between
    two that are right on different ones, where right and wrong even out."""
    alike = Curve.of([(1.0, run(50)), (2.0, run(50))])
    opposed = Curve.of([(1.0, run(50)), (2.0, run(50)[::-1])])
    wide, narrow = (ends(accuracy_at(each, 1.5)) for each in (alike, opposed))
    assert narrow[1] - narrow[0] < 0.5 * (wide[1] - wide[0])


def test_one_run_serves_every_seed_and_seeds_stay_together() -> None:
    seeded = np.array([run(60), run(64), run(56)])
    curve = Curve.of([(1.0, seeded), (2.0, run(80))])
    assert curve.outcomes.shape == (2, 3, 100)
    expected = mean_over_seeds((1.0 * seeded + run(80)) / 2)
    assert accuracy_at(curve, 1.5) == expected
    assert difference_at(curve, curve, 1.0) == difference(seeded, seeded)


def test_two_runs_at_one_cost_are_refused() -> None:
    message = r"^Two runs of one curve cost 2\.0000 GMACs: leave one out, or join them as seeds\.$"
    with pytest.raises(KeeprateError, match=message):
        Curve.of([(2 * GIGA, run(1)), (1 * GIGA, run(2)), (2 * GIGA, run(3))])


def test_seeds_that_do_not_match_are_refused() -> None:
    message = r"^The runs of one curve have 1 and 2 and 3 seeds: run all with as many\.$"
    points = [(float(count), np.zeros((count, 4))) for count in (1, 2, 3)]
    with pytest.raises(KeeprateError, match=message):
        Curve.of(points)


@pytest.mark.parametrize("points", [[], [(1.0, run(1, 5)), (2.0, run(1, 6))]])
def test_curves_need_points_on_the_same_images(points: list[tuple[float, list[bool]]]) -> None:
    with pytest.raises(ValueError, match=r"^a curve needs points, all on the same images$"):
        Curve.of(points)


def test_the_front_by_hand() -> None:
    points = [(3.0, 0.8), (1.0, 0.5), (2.0, 0.8), (2.5, 0.7), (1.0, 0.4), (4.0, 0.9), (2.0, 0.8)]
    assert pareto_front(points) == [1, 2, 6, 5]
    assert pareto_front([]) == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    def dominated(point: tuple[int, int]) -> bool:
        return any(
            other != point and other[0] <= point[0] and other[1] >= point[1] for other in points
        )

    expected = {index for index, point in enumerate(points) if not dominated(point)}
    found = pareto_front([(float(cost), float(accuracy)) for cost, accuracy in points])
    assert set(found) == expected
    assert [points[index][0] for index in found] == sorted(points[index][0] for index in found)
