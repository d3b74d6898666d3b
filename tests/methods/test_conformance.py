"""Every built-in method keeps every promise, for every value of its parameters that has a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from broken_methods import Gathers, KeyNorm, LongKeys
from keeprate import KeeprateError, Method
from keeprate.plugins.parameters import build, parameters_of
from keeprate.plugins.registry import load, registry
from keeprate.testing import CHECKS, MethodConformance, check

KNOWN: Mapping[str, Mapping[str, str]] = {
    "zero-tprune:tolerance=0.001": {
        "overhead": "iterations are counted at their upper bound where a tolerance ends them",
    },
}
"""Promises that a built-in method is known not to keep, and why."""

NUMBERS = ("random:seed=3", "zero-tprune:tolerance=0.001", "zero-tprune:s_removal=10")


def specs() -> Iterator[str]:
    """Every built-in method by itself, with its presets' parameters, and with each choice."""
    for name, offer in load(environ={"KEEPRATE_PLUGINS": ""}).methods.items():
        yield name
        for preset in offer.cls.presets.values():
            yield f"{name}:{','.join(f'{k}={v}' for k, v in preset.parameters.items())}"
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


@pytest.mark.parametrize("spec", list(specs()))
def test_a_built_in_method_keeps_every_promise(spec: str) -> None:
    verdict = check(spec)
    broken = [outcome.check for outcome in verdict if not outcome.holds]
    assert broken == list(KNOWN.get(spec, ())), str(verdict)


def test_what_is_known_to_be_broken_is_tried() -> None:
    assert KNOWN.keys() <= set(specs())


class TestKeyNorm(MethodConformance):
    """A method as the documentation writes one."""

    method = KeyNorm


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
    import torch

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
        ("key-nrm", "No method, data set or report 'key-nrm'. "),
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
