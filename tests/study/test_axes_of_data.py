"""Axes of data sets, and data sets inside another one, in a study."""

from __future__ import annotations

import pytest

from keeprate.plugins.parameters import build
from keeprate_datasets.corrupted import Corrupted
from study_factory import grid_problems, pairs

METHODS = "methods: random\nbudgets: 65%\n"


def test_a_list_is_an_axis_of_data_sets() -> None:
    text = METHODS + (
        "data:\n"
        "  - digits\n"
        "  - {name: 'corrupted:digits', parameters: {kind: [jpeg, contrast], severity: [1, 5]}}\n"
        "  - corrupted:digits,kind=jpeg,severity=1\n"  # with other types: another spelling
        "  - {name: corrupted, parameters: {data: digits, kind: jpeg, severity: 1}}\n"
    )
    found = [pair.data.spec.values for pair in pairs(text) if pair.data]
    assert found == [
        {},
        {"data": "digits", "kind": "jpeg", "severity": 1},
        {"data": "digits", "kind": "jpeg", "severity": 5},
        {"data": "digits", "kind": "contrast", "severity": 1},
        {"data": "digits", "kind": "contrast", "severity": 5},
        {"data": "digits", "kind": "jpeg", "severity": "1"},
    ]
    made = [build("data set", Corrupted, values) for values in found[1:]]
    assert made[0].fingerprint() == made[4].fingerprint()


def test_of_several_values_the_one_that_is_refused_is_told() -> None:
    data = "data: {name: corrupted, parameters: {data: digits, kind: [jpeg, fog], severity: []}}"
    first, second = grid_problems(METHODS + data)
    assert first.startswith("s.yaml:3: data.parameters.severity: is an empty list.")
    assert second.startswith("s.yaml:3: data.parameters.kind.1: Data set 'corrupted': kind must be")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            "corrupted:imagenet,root=photos,kind=jpeg",
            "s.yaml:3: data: No parameter 'root' in data set 'corrupted'. Known: "
            "data, kind, severity. Another data set's parameters go in quotes with it: "
            "'corrupted:\"NAME:root=...\"'.",
        ),
        (
            "corrupted:imagenet:nowhere,kind=jpeg",
            "s.yaml:3: data: There is no 'nowhere'. Relative paths begin at the working directory.",
        ),
        (
            "corrupted:text-file:a.csv,kind=jpeg",
            "s.yaml:3: data: Data set 'corrupted': data 'text-file' has texts, and "
            "images are corrupted.",
        ),
        (
            "corrupted",
            "s.yaml:3: data: Data set 'corrupted' needs data and kind: write "
            "corrupted:data=DATA,kind=KIND.",
        ),
        (
            "corrupted:digits",
            "s.yaml:3: data: Data set 'corrupted' needs kind: add kind=KIND.",
        ),
    ],
)
def test_a_data_set_inside_another_is_checked(data: str, problem: str) -> None:
    assert problem in grid_problems(f"{METHODS}data: '{data}'")
