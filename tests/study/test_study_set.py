"""`--set`: a study changed from the command line, whose problems name it in place of a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeprate.errors import KeeprateError
from keeprate.study.yaml_lines import read_value
from study_factory import content, told


def test_set_changes_values_wherever_they_stand() -> None:
    text = "models: vit\nlimit: 5\nmethods:\n  - a\n  - name: b\n    parameters: {p: 1, q: 2}\n"
    found = content(
        text,
        "models.0.weights=w.pth",
        "limit=100",
        "budgets=[65%, 80%]",
        "methods.1.parameters.p=[I, S]",
        "methods.2=c",
        "data=d:/photos",
        "workers=",
    )
    expected = content(
        "models: {name: vit, weights: w.pth}\nlimit: 100\nbudgets: [65%, 80%]\ndata: d:/photos\n"
        "methods: [a, {name: b, parameters: {p: [I, S], q: 2}}, c]"
    )
    assert found == expected


SET = {
    "limit": "--set limit: write KEY=VALUE, as --set limit=100.",
    "=5": "--set =5: write KEY=VALUE, as --set limit=100.",
    "a..b=5": "--set a..b=5: write KEY=VALUE, as --set limit=100.",
    "methods.5=a": "--set methods.5: methods has 2 items, counted from 0.",
    "methods.name=a": "--set methods.name: methods is a list: say which item, as methods.0.",
    "limit.x=1": "--set limit.x: limit is a single value without keys.",
    "limit=[": "--set limit: is not YAML: expected the node content, but found '<stream end>'. "
    "Put texts with special characters in quotes.",
    "limit=ten": "--set limit: must be a whole number, not 'ten'.",
    "methods.0={nme: a}": None,
}


@pytest.mark.parametrize(("override", "message"), SET.items(), ids=SET)
def test_a_problem_with_set_names_it_in_place_of_a_line(override: str, message: str | None) -> None:
    found = told("limit: 5\nmethods: [a, b]", override)
    if message is None:
        assert found == [
            "--set methods.0: has no name. Write name: NAME.",
            "--set methods.0: methods.0.nme: is no key here. Did you mean 'name'?",
        ]
    else:
        assert found == [message]


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20))
def test_any_value_of_set_is_read_or_refused_in_one_line(text: str) -> None:
    said = ""
    try:
        read_value(text)
    except KeeprateError as error:
        said = str(error)
    assert "\n" not in said
