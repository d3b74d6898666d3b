"""Appending tokens is a promise like any other: whoever breaks it is told which one, and where."""

from __future__ import annotations

import pytest

import broken_appends as broken
from keeprate import Method
from keeprate.testing import Verdict
from keeprate.testing.cases import KINDS, MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method

EXPECTED: dict[type[Method], tuple[str, str]] = {
    broken.Uncounted: (
        "described",
        "Method 'uncounted' declares appends = 0.5: it is a number of tokens, 0 for none.",
    ),
    broken.Undeclared: (
        "counts",
        "at block 0 [19, 19, 19] patch tokens are left in the images of the batch, where 18 were "
        "scheduled",
    ),
    broken.Forgotten: (
        "counts",
        "at block 0 [18, 18, 18] patch tokens are left in the images of the batch, where 18 and 1 "
        "to append were scheduled",
    ),
    broken.ByHand: (
        "sizes",
        "after block 0 sizes sum to [19.0, 19.0, 19.0], and [18, 18, 18] patches are left",
    ),
}
LOOKED_AT = ("described", "returns", "counts", "identity", "prefix", "sizes", "trace", "one-token")


@pytest.mark.parametrize("cls", EXPECTED, ids=lambda cls: cls.__name__)
def test_only_the_check_of_the_broken_promise_fails(cls: type[Method]) -> None:
    name, said = EXPECTED[cls]
    verdict = Verdict("it", tuple(run_method(subject_of(cls), LOOKED_AT, MAIN_KINDS[:1])))
    assert [outcome.check for outcome in verdict.broken] == [name], str(verdict)
    assert verdict[name].said == said
    assert broken.__file__ in verdict[name].where


@pytest.mark.parametrize(
    "kinds",
    [MAIN_KINDS[:1], pytest.param(tuple(KINDS), marks=pytest.mark.slow)],
    ids=["one kind", "all kinds"],
)
def test_a_method_that_appends_keeps_every_promise(kinds: tuple[str, ...]) -> None:
    only = LOOKED_AT if len(kinds) == 1 else ()
    verdict = Verdict("it", tuple(run_method(subject_of(broken.MeanRest), only, kinds)))
    assert verdict.holds, str(verdict)
