"""The grid of a study: axes, zips, costs, seeds, exclusions; each run once, in order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeprate.costs import parse_budget
from keeprate.errors import KeeprateError
from keeprate.plugins import registry as plugins
from keeprate.plugins.parameters import parameters_of
from keeprate.request import DEFAULT_BUDGETS, Cost, RunSpec
from keeprate.study.axes import axis_of, combinations
from study_factory import grid_problems, pairs, runs, shapes


@pytest.fixture(autouse=True, scope="module")
def _shapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with shapes(tmp_path_factory.mktemp("plugin")):
        yield


def values(text: str, *names: str) -> list[tuple[object, ...]]:
    return [tuple(spec.values[name] for name in names) for spec in runs(text)]


def test_a_list_is_an_axis_and_axes_are_crossed() -> None:
    text = "methods: {name: shape, parameters: {kind: [a, none], limit: [1, null]}}\nbudgets: 65%"
    found = values(text, "kind", "limit", "seed")
    assert found == [("a", 1, 0), ("a", None, 0), ("none", 1, 0), ("none", None, 0)]


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("numbers", "[1, 2, 3]", [[1, 2, 3]]),
        ("numbers", "[[1, 2, 3]]", [[1, 2, 3]]),
        ("numbers", "[[1], [3, 4]]", [[1], [3, 4]]),
        ("numbers", "['1,2', '3']", ["1,2", "3"]),
        ("numbers", "'1,2'", ["1,2"]),
        ("numbers", "[]", [[]]),
        ("words", "[x, y]", [["x", "y"]]),
        ("words", "[[x, y], [z]]", [["x", "y"], ["z"]]),
        ("limit", "[1, 2.5]", [1, 2.5]),
        ("kind", "[a]", ["a"]),
    ],
)
def test_where_one_value_is_a_list_a_list_of_lists_is_the_axis(
    parameter: str, value: str, expected: list[object]
) -> None:
    text = f"methods: {{name: shape, parameters: {{{parameter}: {value}}}}}\nbudgets: 65%"
    assert [found for (found,) in values(text, parameter)] == expected


def test_values_may_stand_behind_the_name() -> None:
    (spec,) = runs("methods: 'shape:numbers=1,2,kind=none'\nbudgets: 65%")
    assert spec.values == {"numbers": "1,2", "kind": "none", "seed": 0}
    (spec,) = runs("methods: {name: 'shape:none', parameters: {limit: 2}}\nbudgets: 65%")
    assert spec.values == {"kind": "none", "limit": 2, "seed": 0}


def test_zipped_axes_advance_together() -> None:
    text = """
methods:
  name: shape
  parameters: {kind: [a, none], numbers: [[4], [5]], limit: [1, 2]}
  zip: [kind, numbers]
budgets: 65%
"""
    assert values(text, "kind", "numbers", "limit") == [
        ("a", [4], 1),
        ("a", [4], 2),
        ("none", [5], 1),
        ("none", [5], 2),
    ]


def test_schedules_and_budgets_are_crossed_and_a_methods_own_replace_them() -> None:
    text = """
methods: [plain, {name: shape, schedules: [r=8]}, {name: shape, budgets: 0.8}]
schedules: [keep, r]
budgets: [65%, 80%]
"""
    assert [(spec.method, spec.cost) for spec in runs(text)] == [
        ("plain", Cost("keep", "65%")),
        ("plain", Cost("keep", "80%")),
        ("plain", Cost("r", "65%")),
        ("plain", Cost("r", "80%")),
        ("shape", Cost("r=8", None)),
        ("shape", Cost(None, "0.8")),
    ]


def test_budgets_that_compare_uses_stand_where_nothing_is_said() -> None:
    assert [spec.cost for spec in runs("methods: plain")] == [
        Cost(None, budget) for budget in DEFAULT_BUDGETS
    ]
    assert [spec.cost for spec in runs("methods: plain\nschedules: r=8")] == [Cost("r=8")]


def test_without_methods_there_are_all_that_reduce() -> None:
    found = {spec.method for spec in runs("budgets: 65%")}
    offers = plugins.registry().methods
    assert found == {name for name, offer in offers.items() if offer.cls.reduces}


def test_seeds_multiply_only_methods_that_have_one_and_set_none() -> None:
    text = "methods: [shape, plain, 'shape:seed=7', {name: shape, parameters: {seed: [5, 6]}}]\n"
    found = runs(text + "budgets: 65%\nseeds: [0, 1]")
    assert [(spec.method, spec.values.get("seed")) for spec in found] == [
        ("shape", 0),
        ("shape", 1),
        ("plain", None),
        ("shape", "7"),
        ("shape", 5),
        ("shape", 6),
    ]


def test_parameters_of_a_preset_are_left_to_it() -> None:
    text = "methods: {name: shape, parameters: {kind: [a, none], limit: 1}, schedules: [fixed]}"
    (spec,) = runs(text)  # both kinds are the preset's, so that the two are one run
    assert spec == RunSpec("shape", {"limit": 1, "seed": 0}, Cost("fixed"))


def test_the_same_run_written_twice_is_one() -> None:
    text = "methods: [shape, 'shape:kind=a', {name: shape, parameters: {limit: null, seed: 0}}]"
    assert len(runs(text + "\nbudgets: [65%, '65%', 80%]")) == 2


def test_a_model_or_data_set_named_twice_is_one() -> None:
    text = "models: [one, {name: one}, {name: one, image_size: 96}]\nmethods: plain\n"
    text += "data: [digits, 'image-folder:.', {name: image-folder, parameters: {root: .}}]"
    assert len(pairs(text)) == 4


def test_a_method_that_reduces_nothing_has_no_run_of_its_own() -> None:
    offers = plugins.registry().methods.values()
    name = next(offer.name for offer in offers if not offer.cls.reduces)
    assert [spec.method for spec in runs(f"methods: [{name}, plain]\nbudgets: 65%")] == ["plain"]
    assert len(pairs(f"methods: {name}")) == 1
    assert grid_problems(f"methods: {{name: {name}, budgets: 65%}}") == [
        "s.yaml:1: methods: reduces nothing: leave out budgets and schedules."
    ]


def test_excluded_runs_are_those_for_which_everything_said_is_so() -> None:
    text = """
data: [digits, "image-folder:."]
models: [one, two]
methods: [{name: shape, parameters: {kind: [a, none], numbers: [[1], [2]]}}, plain]
budgets: [65%, 80%]
seeds: [0, 1]
exclude:
  - {model: one, data: image-folder}
  - {method: plain, budget: 80%}
  - {parameters: {kind: none, numbers: "2"}}
  - {seed: 1, parameters: {kind: a}}
"""
    found = pairs(text)
    assert [(pair.model.spec.name, pair.data and pair.data.spec.name) for pair in found] == [
        ("one", "digits"),
        ("two", "digits"),
        ("two", "image-folder"),
    ]
    specs = [point.spec for point in found[0].points]
    assert [(spec.values.get("kind"), spec.values.get("numbers")) for spec in specs] == [
        *[("a", [1])] * 2,
        *[("a", [2])] * 2,
        *[("none", [1])] * 4,
        (None, None),
    ]
    assert specs[-1].cost == Cost(None, "65%")


def test_defaults_can_be_excluded_too() -> None:
    text = "methods: [shape, 'shape:kind=none']\nbudgets: [65%]\nexclude: {parameters: {kind: a}}"
    (pair,) = pairs(text)
    assert [point.spec.values["kind"] for point in pair.points] == ["none"]


AXES = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.integers(), min_size=1, max_size=4, unique=True)
)


@given(AXES)
def test_without_zips_every_combination_is_there_once(axes: dict[str, list[int]]) -> None:
    found = combinations(axes, [])
    assert found == [dict(zip(axes, row, strict=True)) for row in product(*axes.values())]


@given(AXES, st.data())
def test_a_zip_takes_the_place_of_its_axes(axes: dict[str, list[int]], data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 4))
    zipped = data.draw(st.lists(st.sampled_from("wxyz"), min_size=1, unique=True))
    together = {name: list(range(place, place + length)) for place, name in enumerate(zipped)}
    found = combinations({**axes, **together}, [zipped])
    assert len(found) == length * prod(len(values) for values in axes.values())
    for row in found:
        steps = {row[name] - together[name][0] for name in zipped}  # type: ignore[operator]
        assert len(steps) == 1
        assert list(row) == [*axes, *zipped]


def test_an_axis_is_told_by_the_parameters_type() -> None:
    known = {each.name: each for each in parameters_of(plugins.registry().method("shape"))}
    assert axis_of(known["numbers"], [1, 2]) is None
    assert axis_of(known["kind"], "a") is None
    assert axis_of(known["kind"], ["a"]) == ["a"]
    with pytest.raises(KeeprateError, match="is an empty list"):
        axis_of(known["limit"], [])


@pytest.mark.parametrize("budget", DEFAULT_BUDGETS)
def test_the_default_budgets_are_budgets(budget: str) -> None:
    assert parse_budget(budget).text == budget
