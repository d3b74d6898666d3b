"""That skipped tokens come back is a promise like any other: who breaks it is told, and where."""

from __future__ import annotations

import pytest

import broken_skips as broken
from broken_methods import KeyNorm
from keeprate import Method
from keeprate.testing import Verdict
from keeprate.testing.cases import KINDS, MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method

EXPECTED: dict[type[Method], str] = {
    broken.Merged: "at block 0 7 tokens are neither kept nor set aside",
    broken.Forgotten: "at block 2 7 tokens are neither kept nor set aside",
    broken.Changed: "at block 0 token NUMBER of image 0 is changed and set aside",
}
LOOKED_AT = ("described", "identity", "prefix", "comes-back", "trace")
QUICK = (*LOOKED_AT, "returns", "counts", "sizes", "batch", "order", "inputs", "overhead")


@pytest.mark.parametrize("cls", EXPECTED, ids=lambda cls: cls.__name__)
def test_only_the_check_of_the_broken_promise_fails(cls: type[Method]) -> None:
    verdict = Verdict("it", tuple(run_method(subject_of(cls), LOOKED_AT, MAIN_KINDS[:1])))
    assert [outcome.check for outcome in verdict.broken] == ["comes-back"], str(verdict)
    said = verdict["comes-back"].said
    expected = EXPECTED[cls].split("NUMBER")
    assert said.startswith(expected[0])
    assert said.endswith(expected[-1])
    assert broken.__file__ in verdict["comes-back"].where


@pytest.mark.parametrize(
    ("subject", "kinds"),
    [
        (broken.Skip, MAIN_KINDS[1:2]),
        pytest.param(broken.Skip, tuple(KINDS), marks=pytest.mark.slow),
        pytest.param("random:on_drop=skip,back=2", tuple(KINDS), marks=pytest.mark.slow),
        pytest.param("attention-score:on_drop=skip,back=1,3", tuple(KINDS), marks=pytest.mark.slow),
        pytest.param("class-attention:on_drop=skip", tuple(KINDS), marks=pytest.mark.slow),
        pytest.param("zero-tprune:on_drop=skip", tuple(KINDS), marks=pytest.mark.slow),
    ],
)
def test_a_method_that_skips_keeps_every_promise(
    subject: str | type[Method], kinds: tuple[str, ...]
) -> None:
    only = QUICK if len(kinds) == 1 else ()
    verdict = Verdict("it", tuple(run_method(subject_of(subject), only, kinds)))
    assert verdict.holds, str(verdict)
    assert verdict["comes-back"].status == "kept"


def test_blocks_that_the_models_of_the_battery_lack_break_no_promise() -> None:
    class Deep(broken.Skip):
        """Brings tokens back before a block that small models lack."""

        name = "deep"

        def __init__(self) -> None:
            super().__init__((6,))

    verdict = Verdict("it", tuple(run_method(subject_of(Deep), QUICK, MAIN_KINDS[:1])))
    assert verdict.holds, str(verdict)
    assert "brings tokens back before block 6" in verdict["comes-back"].said


def test_methods_that_drop_are_not_asked() -> None:
    subject = subject_of(KeyNorm)
    verdict = Verdict("it", tuple(run_method(subject, ["comes-back"], MAIN_KINDS[:1])))
    assert verdict["comes-back"].said == "what it does not keep is gone (skips = False)"
