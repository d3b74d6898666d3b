"""Every built-in method keeps every promise, for every value of its parameters that has a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch

import keeprate
from broken_methods import Gathers, KeyNorm, LongKeys
from keeprate import KeeprateError, Method
from keeprate.backbones.lookup import adapt
from keeprate.plugins.parameters import build, parameters_of, parse_spec
from keeprate.plugins.registry import load, registry
from keeprate.resizing import InputMethod
from keeprate.testing import CHECKS, Case, MethodConformance, Verdict, check
from keeprate.testing.cases import KINDS, MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method
from weights_factory import with_weights

KNOWN: Mapping[str, Mapping[str, str]] = {
    "zero-tprune:tolerance=0.001": {
        "overhead": "iterations are counted at their upper bound where a tolerance ends them",
    },
}
"""Promises that a built-in method is known not to keep, and why."""

NUMBERS = ("random:seed=3", "zero-tprune:tolerance=0.001", "zero-tprune:s_removal=10")

BY_PARAMETER = (
    "described",
    "parameters",
    "limits",
    "schedules",
    "reads",
    "counts",
    "identity",
    "prefix",
    "sizes",
    "batch",
    "pickles",
    "needs",
    "overhead",
)
"""What one parameter can break alone: what is declared, what is kept, what it costs. The rest, on
all kinds of model, is tried of each parameter by the slow test."""


def defaults() -> Iterator[str]:
    """Every built-in method by itself, and with the parameters of its first presets."""
    for name, offer in load(environ={"KEEPRATE_PLUGINS": ""}).methods.items():
        yield name
        for preset in list(offer.cls.presets.values())[:2]:
            yield f"{name}:{','.join(f'{k}={v}' for k, v in preset.parameters.items())}"


def variants() -> Iterator[str]:
    """Every built-in method with each choice of each parameter, and some numbers."""
    for name, offer in load(environ={"KEEPRATE_PLUGINS": ""}).methods.items():
        yield from (f"{name}:{choice}" for choice in choices(offer.cls))
    yield from NUMBERS


def choices(cls: type[Method]) -> Iterator[str]:
    hints = get_type_hints(cls.__init__)
    for each in parameters_of(cls):
        options = get_args(hints[each.name]) if get_origin(hints[each.name]) is Literal else ()
        options = (True, False) if hints[each.name] is bool else options
        for option in options:
            if option != each.default and fits(cls, each.name, option):
                yield f"{each.name}={option}"


def fits(cls: type[Method], name: str, value: object) -> bool:
    try:
        build("method", cls, {name: value})
    except KeeprateError:
        return False
    return True


def assert_kept(spec: str, verdict: Verdict) -> None:
    broken = [outcome.check for outcome in verdict if not outcome.holds]
    assert broken == list(KNOWN.get(spec, ())), str(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("spec", list(defaults()))
def test_a_built_in_method_keeps_every_promise(spec: str, tmp_path: Path) -> None:
    assert_kept(spec, check(with_weights(spec, tmp_path)))


def test_a_built_in_method_keeps_every_promise_on_one_kind_of_model() -> None:
    outcomes = run_method(subject_of("tome"), (), MAIN_KINDS[:1])
    assert_kept("tome", Verdict("tome", tuple(outcomes)))


@pytest.mark.sample(1)
@pytest.mark.parametrize("spec", list(variants()))
def test_no_parameter_breaks_what_it_can_break_alone(spec: str, tmp_path: Path) -> None:
    subject = subject_of(with_weights(spec, tmp_path))
    outcomes = run_method(subject, BY_PARAMETER, MAIN_KINDS[:2])
    assert_kept(spec, Verdict(spec, tuple(outcomes)))


@pytest.mark.slow
@pytest.mark.parametrize("spec", list(variants()))
def test_a_parameter_breaks_no_promise_on_any_kind_of_model(spec: str, tmp_path: Path) -> None:
    assert_kept(spec, check(with_weights(spec, tmp_path)))


def test_what_is_known_to_be_broken_is_tried() -> None:
    assert KNOWN.keys() <= {*defaults(), *variants()}


@pytest.mark.parametrize("name", load(environ={"KEEPRATE_PLUGINS": ""}).methods)
def test_a_patch_lives_in_the_same_token_in_any_batch(name: str, tmp_path: Path) -> None:
    """The battery compares which patches are left; here also where they are."""
    case = Case(batch=6)
    cls = registry().method(name)
    of_tokens = cls.reduces and not issubclass(cls, InputMethod)
    schedule = "18@0,11@2,8@3" if of_tokens else None
    budget = "65%" if issubclass(cls, InputMethod) else None
    name, parameters = parse_spec(with_weights(name, tmp_path))
    reduced = keeprate.reduce(case.model(), name, schedule, budget=budget, trace=True, **parameters)
    part = torch.tensor([4, 2, 0])
    with torch.inference_mode():
        reduced(case.images(), case.index())
        together = [survivors.owner for survivors in reduced.survivors]
        reduced(case.images()[part], case.index()[part])
    for alone, owner in zip(reduced.survivors, together, strict=True):
        assert torch.equal(alone.owner, owner[part])


@pytest.mark.sample(3)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_did_is_told_on_every_kind_of_model(kind: str) -> None:
    """Tokens after each block, prefix tokens included, and costs; the battery looks at calls."""
    case = Case(kind)
    model, images = case.model(), case.images()
    prefix = adapt(model).num_prefix
    reduced = keeprate.reduce(model, "random", "18@0,11@2,8@3")
    full = keeprate.reduce(model, "full")
    with torch.inference_mode():
        assert torch.equal(full(images), model(images))
        assert not torch.allclose(reduced(images), model(images))
        for dtype in (torch.bfloat16, torch.float16):
            assert full.to(dtype)(images.to(dtype)).isfinite().all()
    assert full.token_counts.tolist() == [[prefix + 25] * 4] * 3
    assert full.macs_per_image.total.tolist() == [full.costs().total] * 3
    assert reduced.token_counts.tolist() == [[prefix + left for left in (18, 18, 11, 8)]] * 3


@pytest.mark.sample(5)
class TestKeyNorm(MethodConformance):
    """A method as the documentation writes one."""

    method = KeyNorm


@pytest.mark.sample(5)
class TestLongKeys(MethodConformance):
    """A method that keeps a number of its own in every image."""

    method = LongKeys(power=1.0)
    not_promised: Mapping[str, str] = {"overhead": "left out, to be skipped"}


class TestGathers(MethodConformance):
    """A method that merges."""

    method = Gathers
    only = ("counts", "sizes", "trace", "batch", "gradients", "overhead")


def test_a_method_that_reduces_nothing_is_asked_for_what_it_can_promise() -> None:
    verdict = check("full")
    kept = [outcome.check for outcome in verdict if outcome.status == "kept"]
    assert kept == ["described", "parameters", "identity", "pickles"]
    assert verdict["counts"].said == "it reduces nothing (reduces = False)"


def test_a_method_that_needs_a_class_token_is_not_tried_without_and_says_so() -> None:
    said = check("class-attention", only=["counts"])["counts"].said
    assert said == (
        "needs a class token, so not tried with: average pooling; attention pooling; relative "
        "positions by an MLP"
    )


def test_the_user_s_random_state_and_settings_stay_as_they_are() -> None:
    import random

    import numpy as np

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    assert check("random", only=["randomness", "counts", "pickles"]).holds
    assert (torch.rand(1), np.random.rand(), random.random()) == expected


def test_checks_have_names_of_their_own_and_a_sentence_each() -> None:
    names = [each.name for each in CHECKS]
    assert len(set(names)) == len(names)
    assert all(each.promise.endswith(".") for each in CHECKS)
    assert not set(names) & set(registry().methods)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("key-nrm", "No method, data set, metric or report 'key-nrm'. "),
        ("missing.py", "No file 'missing.py'. "),
        ("digits", "'digits' offers 0 methods: name one of them."),
        (3, "A method is a name, a class or an instance of one, not 3."),
    ],
)
def test_what_is_no_method_is_refused(method: object, message: str) -> None:
    with pytest.raises(KeeprateError) as refused:
        check(method)
    assert str(refused.value).startswith(message)


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(KeeprateError, match=r"No check 'count'\. Did you mean 'counts'\?"):
        check("random", only=["count"])
