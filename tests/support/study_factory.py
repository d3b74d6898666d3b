"""Studies for tests: their problems, their runs, and a plugin with a parameter of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keeprate.plugins import registry as plugins
from keeprate.plugins.registry import load
from keeprate.request import RunSpec
from keeprate.study.grid import points_of
from keeprate.study.pairs import Pair, pairs_of
from keeprate.study.problems import StudyProblems
from keeprate.study.schema import StudySpec
from keeprate.study.study_file import read_study_text
from keeprate.study.validate import validated

PLUGIN = """
from pathlib import Path
from typing import Literal

from keeprate import KeeprateError, Method, Preset, hookimpl


class Shape(Method):
    '''Has a parameter of every kind.'''

    name = "shape"
    presets = {"fixed": Preset("keep=0.5@1", {"kind": "b"})}

    def __init__(
        self,
        kind: Literal["a", "b", "none"] = "a",
        numbers: tuple[int, ...] = (1,),
        words: tuple[str, ...] = (),
        limit: float | None = None,
        seed: int = 0,
    ) -> None:
        if kind == "b" and numbers == (2,):
            raise KeeprateError("numbers must not be 2 with b")
        if kind == "a" and limit == 3:
            raise KeeprateError("these do not go together")
        self.kind, self.numbers, self.words = kind, numbers, words
        self.limit, self.seed = limit, seed

    def score(self, tokens, attention, stage):
        return tokens.size


class Plain(Method):
    '''Has no parameters.'''

    name = "plain"

    def score(self, tokens, attention, stage):
        return tokens.size


@hookimpl
def keeprate_methods():
    return [Shape, Plain]
"""


@contextmanager
def shapes(folder: Path) -> Iterator[None]:
    """Offer the methods `shape` and `plain` beside those that ship."""
    path = folder / "shapes.py"
    path.write_text(PLUGIN)
    before = list(plugins._active)
    plugins.activate(load([path], strict=True, environ={"KEEPRATE_PLUGINS": ""}))
    yield
    plugins._active[:] = before


def told(text: str, *overrides: str) -> list[str]:
    """Every problem of a study's text and types, as it is printed."""
    try:
        ledger = read_study_text("s.yaml", text, overrides)
    except StudyProblems as error:
        return [str(problem) for problem in error.problems]
    validated(ledger)
    return [str(problem) for problem in ledger.problems]


def content(text: str, *overrides: str) -> StudySpec:
    """What a study without problems says."""
    ledger = read_study_text("s.yaml", text, overrides)
    found = validated(ledger)
    assert ledger.problems == []
    return found


def runs(text: str) -> list[RunSpec]:
    """The runs of a study without problems."""
    ledger = read_study_text("s.yaml", text, [])
    points = points_of(validated(ledger), ledger)
    assert [str(each) for each in ledger.problems] == []
    return [point.spec for point in points]


def grid_problems(text: str) -> list[str]:
    ledger = read_study_text("s.yaml", text, [])
    content = validated(ledger)
    with suppress(StudyProblems):  # what is told before all that follows is in the ledger as well
        pairs_of(content, points_of(content, ledger), ledger)
    return [str(each) for each in ledger.problems]


def pairs(text: str) -> list[Pair]:
    ledger = read_study_text("s.yaml", text, [])
    content = validated(ledger)
    found = pairs_of(content, points_of(content, ledger), ledger)
    assert [str(each) for each in ledger.problems] == []
    return found
