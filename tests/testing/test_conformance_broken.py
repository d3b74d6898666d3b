"""Every check fails for the method that breaks its promise, says why, and no other check does."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

import broken_habits as habits
import broken_methods as broken
from keeprate import Method
from keeprate.testing import CHECKS, Case, Outcome, Verdict, bench, check
from keeprate.testing.cases import KINDS, MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method
from rounding import OtherRounding

NUMBER = r"[\d.e+-]+"
EXPECTED: dict[type[Method], tuple[str, str]] = {
    broken.Described: ("described", "its docstring begins with no sentence, but ''"),
    habits.Nothing: ("described", "Method 'nothing' implements neither score nor reduce."),
    habits.Misspelt: (
        "described",
        "it has overhead_mac, which nothing looks for; did you mean overhead_macs?",
    ),
    broken.Parameters: ("parameters", "power=1.0 was given, and the attribute power is 2.0"),
    broken.NoDefault: (
        "parameters",
        "power has no default, so that the name alone is not enough to run it",
    ),
    broken.Limits: ("limits", "most_removed(1) returned 1; 0 to 0 can be removed"),
    broken.Schedules: ("schedules", "preset 'mine' cannot be used: 'keep 70%' is not a schedule."),
    broken.Reads: (
        "reads",
        "it reads attention.k and declares needs = Needs.NOTHING; declare needs = Needs.KEYS",
    ),
    broken.ReadsWeights: (
        "reads",
        "it reads attention.weights and declares needs = Needs.KEYS; declare needs = Needs.WEIGHTS",
    ),
    broken.Returns: (
        "returns",
        "at block 0 score returned (3, 3, 26), not one number per token, prefix tokens included, "
        "(3, 26)",
    ),
    habits.Crashes: ("returns", "raised ZeroDivisionError: division by zero"),
    broken.Counts: (
        "counts",
        "at block 0 [17, 17, 17] patch tokens are left in the images of the batch, where 18 were "
        "scheduled",
    ),
    broken.Identity: ("identity", "logits differ from the plain model's by up to NUMBER"),
    broken.Prefix: ("prefix", "at block 0 prefix token 0 of 1 is not the one that came in"),
    broken.Sizes: ("sizes", "after block 0 sizes sum to 36, more than the 25 patches there are"),
    broken.Unflagged: ("sizes", "after block 0 a token has size 8, and has_merged is False"),
    broken.Swapped: (
        "trace",
        "after block 0 token 1 of image 0 has size 1, and 8 patches live in it",
    ),
    broken.Trace: (
        "trace",
        "after block 0 owner is None, so that no picture can show where the patches are",
    ),
    broken.ImageSizes: (
        "image-sizes",
        "raised RuntimeError: shape '[3, 4, 4, 24]' is invalid for input of size 1512",
    ),
    broken.OneImage: (
        "one-image",
        "Method 'one-image' at block 0: score must be one number per token, prefix tokens "
        "included, (1, 26), not (26,)",
    ),
    broken.NoImages: ("no-images", "raised RuntimeError: max(): Expected reduction dim"),
    broken.OneToken: (
        "one-token",
        "at block 0 [2, 2, 2] patch tokens are left in the images of the batch, where 1 were "
        "scheduled",
    ),
    broken.Ties: (
        "ties",
        "Method 'ties' at block 0: score is not a number (NaN) for some tokens",
    ),
    habits.Repeats: ("repeats", "a second call gives logits that differ by up to NUMBER"),
    habits.Batch: (
        "batch",
        "logits of image 0 differ by NUMBER of the largest in a batch of 6 and in one of 1",
    ),
    habits.Order: (
        "order",
        "logits of image 2 differ by NUMBER of the largest at two places in a batch of 6",
    ),
    habits.Randomness: ("randomness", "the global random state of torch changed while it ran"),
    habits.NumpyRandomness: (
        "randomness",
        "the global random state of NumPy changed while it ran",
    ),
    habits.Settings: (
        "settings",
        "torch's precision of float32 products was highest and is now medium",
    ),
    habits.Stateless: ("stateless", "Method 'stateless' changed its attribute 'last' while it ran"),
    habits.Hoards: ("stateless", "the class attribute 'calls' changed while it ran"),
    habits.Inputs: (
        "inputs",
        "score at block 0 wrote into attention.k: 1872 of 1872 numbers changed",
    ),
    habits.StaleState: (
        "returns",
        "at block 0 reduce returned token_state['average'] (3, 26) for x (3, 19, 24)",
    ),
    habits.LeakingState: (
        "batch",
        "logits of image 0 differ by NUMBER of the largest in a batch of 6 and in one of 1",
    ),
    habits.UnseenState: (
        "order",
        "tokens.state['place'] of image 4 differs at two places in a batch of 6, after block 0",
    ),
    habits.LastingState: (
        "repeats",
        "tokens.state['passes'] of image 0 differs in a second call, after block 0",
    ),
    habits.WrittenState: (
        "inputs",
        "reduce at block 2 wrote into tokens.token_state['average']: NUMBER of 57 numbers changed",
    ),
    broken.Pickles: ("pickles", "it cannot be sent to another process. AttributeError: Can't"),
    habits.Float16: ("float16", "78 scores are NaN at block 0"),
    habits.BFloat16: ("bfloat16", "raised TypeError: Got unsupported ScalarType BFloat16"),
    habits.Gradients: ("gradients", "at block 0 reduce returns tokens without a gradient"),
    broken.NeedsAll: (
        "needs",
        "it declares needs = Needs.WEIGHTS and reads attention.k; Needs.KEYS suffices, and spares "
        "the attention matrix",
    ),
    habits.Overhead: (
        "overhead",
        "at block 0, for Shape(patches=25, prefix=1, heads=3, head_dim=8, channels=24), "
        "overhead_macs says 0 and its products take 16,224",
    ),
    habits.Boasts: (
        "overhead",
        "at block 0, for Shape(patches=25, prefix=1, heads=3, head_dim=8, channels=24), "
        "overhead_macs says 624,000, and its products take 0, sums and element-wise arithmetic ",
    ),
}
"""By broken method, the one check that must fail, and how what it says begins."""

GOOD = (broken.KeyNorm, broken.LongKeys, broken.Gathers, habits.KeyAverage)

UNREPEATED = {"ties", "batch", "order", "randomness", "pickles"}
HIDING = {
    habits.Repeats: UNREPEATED,
    habits.LastingState: UNREPEATED,
    broken.ImageSizes: {"overhead"},
    broken.OneImage: {"batch", "overhead"},
}
"""Checks that cannot be tried on methods that most others can be tried on."""


@pytest.fixture(autouse=True)
def _own_activation(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(F, "gelu", F.gelu)  # one of the methods puts another in its place
    yield
    habits.Hoards.calls = 0
    habits.CARRIED.clear()


@pytest.mark.parametrize(
    "kinds",
    [MAIN_KINDS[:1], pytest.param(tuple(KINDS), marks=pytest.mark.slow)],
    ids=["one kind", "all kinds"],
)
@pytest.mark.sample(3)
@pytest.mark.parametrize("cls", EXPECTED, ids=lambda cls: cls.__name__)
def test_only_the_check_of_the_broken_promise_fails(
    cls: type[Method], kinds: tuple[str, ...]
) -> None:
    name, begins = EXPECTED[cls]
    parameters = {"power": 1.0} if cls is broken.NoDefault else {}
    verdict = Verdict("it", tuple(run_method(subject_of(cls, parameters), (), kinds)))
    assert [outcome.check for outcome in verdict.broken] == [name], str(verdict)
    pattern = re.escape(begins).replace("NUMBER", NUMBER)
    assert re.match(pattern, verdict[name].said), verdict[name].said
    assert_says_where(verdict[name], cls)
    if cls in HIDING:
        assert {each.check for each in verdict if each.status == "not tried"} == HIDING[cls]


ROUNDED = (habits.Repeats, broken.Ties, habits.Batch, broken.KeyNorm, broken.LongKeys)


@pytest.mark.slow
@pytest.mark.parametrize("cls", ROUNDED, ids=lambda cls: cls.__name__)
def test_the_verdict_is_the_same_on_a_processor_that_rounds_otherwise(
    cls: type[Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "_plain", bench._plain.__wrapped__)  # computed here, too
    with OtherRounding():
        verdict = check(cls)
    expected = [EXPECTED[cls][0]] if cls in EXPECTED else []
    assert [outcome.check for outcome in verdict.broken] == expected, str(verdict)


def assert_says_where(outcome: Outcome, cls: type[Method]) -> None:
    """A failure names a line of the author's file, and an input that can be made again."""
    file, line = re.match(r"(.+?):(\d+)", outcome.where).groups()
    assert file in (broken.__file__, habits.__file__)
    written = [inspect.getsourcelines(each) for each in (cls, *GOOD)]
    assert any(first <= int(line) < first + len(lines) for lines, first in written)
    if outcome.case:
        case = eval(outcome.case, {"Case": Case})
        assert len(case.images()) == case.batch
    assert outcome.docs == f'docs/conformance.md, "{outcome.check}"'


def test_every_check_has_a_method_that_fails_it() -> None:
    # those of comes-back are in test_conformance_skips.py
    assert {name for name, _ in EXPECTED.values()} == {each.name for each in CHECKS} - {
        "comes-back"
    }


def test_every_broken_method_is_tried() -> None:
    offered = {each for each in (vars(broken) | vars(habits)).values() if isinstance(each, type)}
    written = {each for each in offered if issubclass(each, Method) and each is not Method}
    assert written == {*EXPECTED, *GOOD}


def test_an_exception_is_told_once_with_the_author_s_line() -> None:
    verdict = check(habits.Crashes)
    line = inspect.getsourcelines(habits.Crashes.score)[1] + 1
    assert verdict["returns"].where == f"{habits.__file__}:{line}"
    untried = [outcome for outcome in verdict if outcome.status == "not tried"]
    assert {outcome.check for outcome in untried} > {"counts", "batch", "gradients", "overhead"}
    assert verdict["batch"].said == "it ends as 'returns' does"
    assert not verdict.holds
    assert not verdict["batch"].holds


def test_a_parameter_without_a_default_is_told_by_its_own_check() -> None:
    verdict = check(broken.NoDefault)
    assert [outcome.check for outcome in verdict.broken] == ["parameters"], str(verdict)
    assert verdict["returns"].said == "it ends as 'parameters' does"


def test_short_names_of_the_authors_own_are_no_misspelling() -> None:
    class Own(broken.KeyNorm):
        """Keeps something of its own."""

        preset = None

    assert check(Own, only=["described"]).holds


def test_what_keeprate_refused_is_told_once() -> None:
    verdict = check(broken.Returns)
    assert verdict["counts"].said == verdict["batch"].said == "it ends as 'returns' does"


def test_what_was_declared_and_counted_stands_beside_a_kept_promise() -> None:
    said = check(broken.KeyNorm, only=["overhead"])["overhead"].said
    assert re.fullmatch(r"block 0: declared 0; products 0, other arithmetic [\d,]+ at most", said)


def test_the_case_of_a_failure_makes_its_input_again() -> None:
    outcome = check(habits.Batch, only=["batch"])["batch"]
    case = eval(outcome.case, {"Case": Case})
    assert case.kind == "class token"
    assert torch.equal(case.images(), Case(batch=6).images())
    assert torch.equal(case.images()[:2], Case(batch=2).images())
    with torch.inference_mode():
        assert case.model()(case.images()).shape == (6, 5)


def test_alone_a_check_tells_the_exception_itself() -> None:
    outcome = check(habits.Crashes, only=["batch"])["batch"]
    assert (outcome.status, outcome.said) == (
        "broken",
        "raised ZeroDivisionError: division by zero",
    )
    refused = check(broken.Counts, only=["batch"])["batch"]
    assert refused.said.startswith("Method 'counts' at block 0 kept 17 patch tokens where 18 were")
