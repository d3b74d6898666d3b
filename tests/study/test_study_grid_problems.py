"""What is wrong with the grid of a study is told with line, key and remedy, each once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from study_factory import grid_problems, shapes


@pytest.fixture(autouse=True, scope="module")
def _shapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with shapes(tmp_path_factory.mktemp("plugin")):
        yield


GIVEN = "methods: {name: shape, budgets: 65%, "
PROBLEMS = {
    "name": ("\nmethods: [plane]", "s.yaml:2: methods.0: No method 'plane'. Did you mean 'plain'?"),
    "nameless": (
        "methods: ':x=1'",
        "s.yaml:1: methods: ':x=1' names nothing; write name or name:parameter=value.",
    ),
    "parameter": (
        GIVEN + "\n  parameters: {\n    limits: 1}}",
        "s.yaml:3: methods.parameters.limits: No parameter 'limits' in method 'shape'. "
        "Did you mean 'limit'?",
    ),
    "none": (
        "methods: {name: plain, parameters: {x: 1}}",
        "s.yaml:1: methods.parameters.x: Method 'plain' has no parameters.",
    ),
    "twice": (
        "methods: {name: 'shape:kind=a', parameters: {kind: b}}",
        "s.yaml:1: methods.parameters.kind: Method 'shape': kind is given twice. Leave one out.",
    ),
    "type": (
        GIVEN + "parameters: {\n limit: [1, many]}}",
        "s.yaml:2: methods.parameters.limit.1: Method 'shape': limit must be a float or none, "
        "not 'many'.",
    ),
    "mapping": (
        GIVEN + "parameters: {limit: {a: 1}}}",
        "s.yaml:1: methods.parameters.limit: Method 'shape': limit must be a float or none, "
        "not {'a': 1}.",
    ),
    "refused": (
        GIVEN + "parameters: {kind: b,\n numbers: [2]}}",
        "s.yaml:2: methods.parameters.numbers: Method 'shape': numbers must not be 2 with b",
    ),
    "together": (
        GIVEN + "parameters: {kind: [a, none], limit: [1, 3]}}",
        "s.yaml:1: methods: Method 'shape': these do not go together",
    ),
    "empty axis": (
        GIVEN + "parameters: {kind: []}}",
        "s.yaml:1: methods.parameters.kind: is an empty list. Give a value, or leave the "
        "parameter out.",
    ),
    "zip": (
        GIVEN + "parameters: {kind: [a, b], limit: 1},\n zip: [kind, limits]}",
        "s.yaml:2: methods.zip: zips 'limits', which lists no values under parameters. "
        "Known: kind.",
    ),
    "zip twice": (
        GIVEN + "parameters: {kind: [a, b], limit: [1, 2]},\n zip: [[kind, limit], [kind]]}",
        "s.yaml:2: methods.zip: names 'kind' twice. An axis advances with one zip.",
    ),
    "zip lengths": (
        GIVEN + "parameters: {kind: [a, b], limit: [1, 2, 4]},\n zip: [kind, limit]}",
        "s.yaml:2: methods.zip: zips axes of different lengths (kind 2, limit 3). "
        "List equally many values.",
    ),
    "budget": (
        "methods: plain\nbudgets:\n  - 65%\n  - lots",
        "s.yaml:4: budgets.1: 'lots' is not a budget. Write GMACs (0.8), 800M, or a share of the "
        "unpruned model (65%).",
    ),
    "preset": (
        "methods: [plain, shape]\nschedules: [fixed]",
        "s.yaml:2: schedules.0: 'fixed' is a preset of shape, not of plain. Give it to that "
        "method alone.",
    ),
    "exclude": (
        "methods: plain\nexclude:\n  - {method: plane}",
        "s.yaml:3: exclude.0: matches no run. Mend it or take it out.",
    ),
    "everything": (
        "methods: plain\nexclude:\n  - {method: plain}",
        "s.yaml:2: exclude: leaves nothing to run. Exclude less.",
    ),
    "data": ("data: digit", "s.yaml:1: data: No data set 'digit'. Did you mean 'digits'?"),
    "no root": (
        "limit: 1\ndata: imagenet",
        "s.yaml:2: data: Data set 'imagenet' needs root: --set data=imagenet:FOLDER.",
    ),
    "no root, of several": (
        "data:\n  - digits\n  - image-folder",
        "s.yaml:3: data.1: Data set 'image-folder' needs root: --set data.1=image-folder:FOLDER.",
    ),
    "no root beside others": (
        "data: {name: text-file, parameters: {max_length: 5}}",
        "s.yaml:1: data: Data set 'text-file' needs file: add file=FILE.",
    ),
    "data parameter": (
        "data: {name: digits, parameters: {size: 5}}",
        "s.yaml:1: data.parameters.size: Data set 'digits' has no parameters.",
    ),
    "data type": (
        "data: {name: 'text-file:x.csv', parameters: {\n max_length: long}}",
        "s.yaml:2: data.parameters.max_length: Data set 'text-file': max_length must be an int or "
        "none, not 'long'.",
    ),
    "data file": (
        "data: 'image-folder:/nowhere'",
        "s.yaml:1: data: There is no '/nowhere'. Relative paths begin at the working directory.",
    ),
}


@pytest.mark.parametrize(("text", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_every_problem_has_line_key_and_remedy(text: str, message: str) -> None:
    assert grid_problems(text) == [message]


def test_all_problems_of_one_method_are_told_and_each_once() -> None:
    text = """
methods:
  - name: shape
    parameters:
      kind: [a, c, none]
      numbers: [[x], [1]]
      limit: much
      word: x
    schedules: [r8, keep]
  - tome
  - {name: shape, parameters: {words: [[1]]}}
budgets: [65%]
"""
    assert [line.split(":")[1] for line in grid_problems(text)] == ["5", "6", "7", "8", "9", "11"]
