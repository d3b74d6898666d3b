"""Preparing, observing, reweighing and reuse: who breaks a promise is told which, and where."""

from __future__ import annotations

import re

import pytest

import seam_methods as seam
from keeprate import Method
from keeprate.testing import Verdict
from keeprate.testing.cases import KINDS, MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method

EXPECTED: dict[type[Method], tuple[str, str]] = {
    seam.Number: ("described", "reuses is 2, not one of Reuse's: NOTHING, WEIGHTS, VALUES"),
    seam.Unseen: (
        "reads",
        "it reads attention.weights and declares needs = Needs.KEYS; declare needs = Needs.WEIGHTS",
    ),
    seam.Undeclared: (
        "sizes",
        "Method 'undeclared' at block 0 declares reuses = NOTHING and returned tokens that reuse "
        "values",
    ),
    seam.Drops: ("identity", "Method 'drops' at block 0: observe returned tokens with another x"),
    seam.Writes: (
        "inputs",
        "observe at block 0 wrote into attention.v: NUMBER of NUMBER numbers changed",
    ),
    seam.Costless: (
        "overhead",
        "at block 0, for Shape(...), prepare_macs says 0 and its products take 16,224",
    ),
    seam.Uncounted: (
        "overhead",
        "at block 0, for Shape(...), overhead_macs says 2,028 and its products take 16,224",
    ),
    seam.Multiplies: (
        "overhead",
        "at block 0, for Shape(...), the ruler, which counts nothing of reweigh, says 0 and its "
        "products take NUMBER",
    ),
}
LOOKED_AT = ("described", "reads", "returns", "counts", "identity", "sizes", "inputs", "overhead")
PROMISING = (seam.Early, seam.Rows, seam.Square, seam.Nearest, seam.Drawn, seam.Reweighed)


@pytest.mark.parametrize("cls", EXPECTED, ids=lambda cls: cls.__name__)
def test_the_check_of_the_broken_promise_fails(cls: type[Method]) -> None:
    name, said = EXPECTED[cls]
    verdict = Verdict("it", tuple(run_method(subject_of(cls), LOOKED_AT, MAIN_KINDS[:1])))
    assert next(outcome.check for outcome in verdict.broken) == name, str(verdict)
    pattern = re.escape(said).replace("NUMBER", r"[\d,]+").replace(re.escape("(...)"), r"\(.*?\)")
    assert re.match(pattern, verdict[name].said), verdict[name].said
    assert seam.__file__ in verdict[name].where


@pytest.mark.parametrize("cls", PROMISING, ids=lambda cls: cls.__name__)
def test_methods_of_each_kind_keep_their_promises(cls: type[Method]) -> None:
    verdict = Verdict("it", tuple(run_method(subject_of(cls), LOOKED_AT, MAIN_KINDS[:1])))
    assert verdict.holds, str(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("cls", PROMISING, ids=lambda cls: cls.__name__)
def test_methods_of_each_kind_keep_every_promise(cls: type[Method]) -> None:
    verdict = Verdict("it", tuple(run_method(subject_of(cls), (), tuple(KINDS))))
    assert verdict.holds, str(verdict)
