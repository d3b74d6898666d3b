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


TOO_MANY = {
    "parameters": (
        "methods: [plain, {name: shape, parameters: {seed: [1, 2, 3, 4], limit: [1, 2]}}]"
        "\nbudgets: 65%",
        "s.yaml:1: methods.1: asks for 9 runs (seed 4, limit 2), more than the 8 that a study may "
        "have. Shorten seed, or allow more: --most-runs COUNT.",
    ),
    "zip": (
        "methods: {name: shape, parameters: {kind: [a, b, none], limit: [4, 5, 6]}, "
        "zip: [kind, limit]}\nbudgets: [50%, 65%, 80%]",
        "s.yaml:1: methods: asks for 9 runs (kind 3, limit 3, budgets 3), more than the 8 that a "
        "study may have. Shorten kind, or allow more: --most-runs COUNT.",
    ),
    "budgets": (
        "methods: plain\nbudgets: [1%, 2%, 3%, 4%, 5%, 6%, 7%, 8%, 9%]",
        "s.yaml:1: methods: asks for 9 runs (budgets 9), more than the 8 that a study may have. "
        "Shorten budgets, or allow more: --most-runs COUNT.",
    ),
    "models": (
        "models: [a, b, c, d, e]\nmethods: plain\nbudgets: [50%, 65%]",
        "s.yaml:1: models: asks for 10 runs (models 5, methods 2), more than the 8 that a study "
        "may have. Shorten models, or allow more: --most-runs COUNT.",
    ),
    "data": (
        "data: {name: corrupted, parameters: {data: digits, severity: [1, 2, 3, 4, 5], "
        "kind: [blur, noise]}}\nmethods: plain\nbudgets: 65%",
        "s.yaml:1: data: asks for 10 runs (severity 5, kind 2), more than the 8 that a study may "
        "have. Shorten severity, or allow more: --most-runs COUNT.",
    ),
}


@pytest.mark.parametrize(("text", "message"), TOO_MANY.values(), ids=TOO_MANY)
def test_a_grid_of_too_many_runs_is_refused_with_the_axis_at_fault(text: str, message: str) -> None:
    message = message.replace("--most-runs COUNT", "most_runs: COUNT")
    assert grid_problems(text + "\nmost_runs: 8") == [message]


def test_a_grid_of_a_million_runs_is_refused_before_one_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keeprate.study.grid.build_method", None)
    axes = ", ".join(map(str, range(1000)))
    budgets = ", ".join(f"{number / 2000}" for number in range(1, 1001))
    text = f"methods: {{name: shape, parameters: {{seed: [{axes}]}}}}\nbudgets: [{budgets}]"
    (problem,) = grid_problems(text)
    assert "asks for 1,000,000 runs (seed 1,000, budgets 1,000), more than the 10,000" in problem


def test_as_many_runs_as_a_study_may_have_are_made() -> None:
    text = "methods: {name: shape, parameters: {seed: [1, 2, 3, 4]}}\nbudgets: [50%, 65%]"
    assert grid_problems(text + "\nmost_runs: 8") == []
