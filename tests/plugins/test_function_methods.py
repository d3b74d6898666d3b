"""A function is a whole method: its parameters, its costs, its place in the id of a run."""

from __future__ import annotations

import linecache
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import keeprate
from keeprate import Attention, KeeprateError, Method, Needs, Place, Shape, Stage, Tokens
from keeprate.plugins.code.code_hash import source_sha256
from keeprate.plugins.parameters import build, parameters_of, values_of
from keeprate.plugins.registry import load
from references.tiny import images_for, tiny_vit


@keeprate.as_method(needs=Needs.KEYS, overhead_macs=lambda shape, stage: shape.tokens)
def key_norm(tokens: Tokens, attention: Attention, stage: Stage, power: float = 1.0) -> Tensor:
    """Keep the tokens with the longest keys. And more."""
    return attention.k.norm(dim=-1).mean(dim=1) ** power


class KeyNorm(Method):
    name = "key-norm-written-out"
    needs = Needs.KEYS

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return attention.k.norm(dim=-1).mean(dim=1) ** self.power


@keeprate.as_method(returns="tokens", place=Place.AFTER_BLOCK, proportional_attention=True)
def first_ones(tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
    return tokens.keep_top(tokens.size, stage.keep)


@keeprate.as_method
def bare(tokens, attention, stage):  # type: ignore[no-untyped-def]
    return tokens.x.norm(dim=-1)


@pytest.mark.parametrize("power", [1.0, -1.0])
def test_a_function_does_what_the_class_written_out_does(power: float) -> None:
    model = tiny_vit()
    images = images_for(model)
    one = keeprate.reduce(model, key_norm, "keep=0.6@1,2", power=power)
    other = keeprate.reduce(model, KeyNorm(power), "keep=0.6@1,2")
    assert torch.equal(one(images), other(images))
    assert torch.equal(keeprate.reduce(model, key_norm(power), "keep=0.6@1,2")(images), one(images))


def test_a_function_may_return_tokens() -> None:
    model = tiny_vit()
    reduced = keeprate.reduce(model, first_ones, "10@1")
    reduced(images_for(model))
    assert reduced.token_counts[0].tolist() == [26, 11, 11, 11]
    assert first_ones.place is Place.AFTER_BLOCK
    assert first_ones.proportional_attention


def test_a_decorator_needs_no_brackets() -> None:
    assert bare.name == "bare"
    assert bare.needs is Needs.NOTHING
    assert keeprate.reduce(tiny_vit(), bare, "r=2").costs().overhead == 0


def test_arguments_after_the_three_are_parameters() -> None:
    (power,) = parameters_of(key_norm)
    assert power.text == "power: float = 1.0"
    assert values_of(key_norm(power=2.0)) == {"power": 2.0}
    assert build("method", key_norm, {"power": "3"}).power == 3.0  # type: ignore[attr-defined]
    with pytest.raises(KeeprateError, match="power must be a float, not 'much'"):
        build("method", key_norm, {"power": "much"})
    with pytest.raises(TypeError, match="strength"):
        key_norm(strength=1)  # type: ignore[call-arg]


def test_what_the_function_computes_is_counted_as_its_author_says() -> None:
    shape = Shape(patches=20, prefix=1, heads=3, head_dim=8, channels=24)
    assert key_norm().overhead_macs(shape, Stage(1, 10, 4)) == 21
    assert keeprate.reduce(tiny_vit(), key_norm, "keep=0.6@1,2").costs().overhead == 26 + 16


def refused(code: str, **options: Any) -> str:
    """What is said of the function that `code` defines."""
    space: dict[str, Any] = {}
    exec(code, space)
    with pytest.raises(KeeprateError) as caught:
        keeprate.as_method(**options)(space["f"])
    return str(caught.value)


HEAD = "def f(tokens, attention, stage"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(tokens, attention, power: int = 1): 1", "must take tokens, attention, stage first"),
        ("def f(): 1", "must take tokens, attention, stage first"),
        (f"{HEAD}, power=1): 1", "declares no type for its parameter power"),
        (f"{HEAD}, power: 'Much' = 1): 1", "unknown type: name 'Much' is not defined"),
        (f"{HEAD}, *more): 1", r"takes \*more: give each parameter a name"),
        (f"{HEAD}, needs: int = 1): 1", "parameter needs, a name that every method"),
        (f"{HEAD}, name: str = ''): 1", "parameter name, a name that every method"),
        (f"{HEAD}, budget: int = 1): 1", "budget, a name keeprate.reduce keeps"),
        ("f = lambda tokens, attention, stage: 1", "must be text of letters"),
    ],
)
def test_functions_that_make_no_method_are_refused(code: str, said: str) -> None:
    assert re.search(said, refused(code))


def test_the_remedy_is_a_sentence_of_its_own() -> None:
    said = refused(f"{HEAD}, power=1): 1")
    assert said.endswith("no type for its parameter power. Write its type: power: int = 1.")


def test_names_and_returns_that_there_are_not_are_refused() -> None:
    assert "must be text of letters" in refused(f"{HEAD}): 1", name="no name")
    with pytest.raises(KeeprateError, match="returns must be one of scores, tokens, not 'masks'"):
        keeprate.as_method(returns="masks")  # type: ignore[call-overload]


def test_a_function_without_the_decorator_is_told_of_it() -> None:
    with pytest.raises(KeeprateError, match=r"decorate it with @keeprate\.as_method"):
        keeprate.reduce(tiny_vit(), lambda tokens, attention, stage: 1, "r=2")  # type: ignore[arg-type]
    with pytest.raises(KeeprateError, match="not 3: give one of these"):
        keeprate.reduce(tiny_vit(), 3, "r=2")  # type: ignore[arg-type]


def test_a_method_of_a_module_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(key_norm(power=2.0))).power == 2.0


def test_a_plugin_file_offers_a_function_like_any_class(tmp_path: Path) -> None:
    code = (
        "import keeprate\n"
        "@keeprate.as_method(needs=keeprate.Needs.KEYS)\n"
        "def offered(tokens, attention, stage, power: int = 1):\n"
        "    '''Rank by keys. Yes.'''\n"
        "    return attention.k.sum(dim=(1, 3))\n"
        "@keeprate.hookimpl\n"
        "def keeprate_methods():\n"
        "    return [offered]\n"
    )
    file = tmp_path / "plug.py"
    file.write_text(code)
    found = load([file], environ={"KEEPRATE_PLUGINS": ""}, strict=True)
    assert found.methods["offered"].description == "Rank by keys."
    before = source_sha256(found.method("offered"))
    file.write_text(code.replace("sum", "mean"))
    again = load([file], environ={"KEEPRATE_PLUGINS": ""}, strict=True)
    assert source_sha256(again.method("offered")) != before


def test_making_a_method_of_a_function_needs_no_torch() -> None:
    code = (
        "import sys, keeprate\n"
        "@keeprate.as_method\n"
        "def f(tokens, attention, stage): ...\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


class Session:
    """A notebook: cells run one after another in one module without a file.

    With `sources`, Python finds the source of a cell, as in IPython.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, sources: bool) -> None:
        self.patch, self.sources, self.count = monkeypatch, sources, 0
        self.space: dict[str, Any] = {"__name__": "__notebook__", "keeprate": keeprate}

    def run(self, code: str) -> Session:
        self.count += 1
        name = f"<cell {id(self)}-{self.count}>"
        if self.sources:
            lines = (len(code), None, code.splitlines(keepends=True), name)
            self.patch.setitem(linecache.cache, name, lines)
        exec(compile(code, name, "exec"), self.space)
        return self

    @property
    def hash(self) -> str:
        return source_sha256(self.space["rank"])


@pytest.fixture(params=[True, False], ids=["with source", "without source"])
def session(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda: Session(monkeypatch, request.param)


CELL = "@keeprate.as_method\ndef rank(tokens, attention, stage):\n    return {}\n"


def test_a_cell_run_again_is_the_same_method_and_a_changed_one_another(session: Any) -> None:
    one = session().run(CELL.format("tokens.size"))
    before = one.hash
    assert len(before) == 64
    assert one.run(CELL.format("tokens.size")).hash == before
    assert session().run(CELL.format("tokens.size")).hash == before
    assert one.run(CELL.format("-tokens.size")).hash != before
    assert (
        one.run(CELL.format("tokens.size * 2")).hash != one.run(CELL.format("tokens.size * 3")).hash
    )


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("used = 1", "used = 2"),
        ("used = [1, 2]", "used = [1, 3]"),
        ("used = {'a': (1, {2})}", "used = {'a': (1, {3})}"),
        ("def used(x): return x", "def used(x): return x + 1"),
        ("def used(x, y=1): return y", "def used(x, y=2): return y"),
        ("def used(x): return deep(x)\ndef deep(x): return 1", "def deep(x): return 2"),
        ("class used:\n    a = 1", "class used:\n    a = 2"),
        ("class used:\n    def f(self): return 1", "class used:\n    def f(self): return 2"),
        (
            "class base:\n    a = 1\nclass used(base): pass",
            "class base:\n    a = 2\nclass used(base): pass",
        ),
        ("used = lambda x: x", "used = lambda x: -x"),
        ("import torch\nused = torch.ones(3)", "used = torch.zeros(3)"),
        ("import numpy\nused = numpy.ones(3)", "used = numpy.zeros(3)"),
        ("used = keeprate.Stage(1, 2, 3)", "used = keeprate.Stage(1, 3, 3)"),
        ("used = keeprate.Needs.KEYS", "used = keeprate.Needs.NOTHING"),
        ("import math as used", "import json as used"),
    ],
)
def test_what_a_cell_uses_counts_as_it_is_now(session: Any, first: str, second: str) -> None:
    one = session().run(CELL.format("(used, tokens.size)[1]")).run(first)
    before = one.hash
    assert one.hash == before
    assert session().run(CELL.format("(used, tokens.size)[1]")).run(first).hash == before
    assert one.run("unused = 1").hash == before
    assert one.run(second).hash != before
    assert one.run(first).hash == before


def test_functions_inside_a_function_and_what_it_closes_over_count(session: Any) -> None:
    make = "def make(n):\n    @keeprate.as_method\n    def rank(tokens, attention, stage):\n"
    make += "        return [n + used for _ in tokens]\n    return rank\n"
    one = session().run(make + "used = 1\nrank = make(1)")
    before = one.hash
    assert one.run("rank = make(2)").hash != before
    assert one.run("used = 2\nrank = make(1)").hash != before
    assert one.run("used = 1").hash == before


def test_a_cell_that_reads_what_cannot_be_looked_into_is_never_the_same(session: Any) -> None:
    one = session().run("used = object()\n" + CELL.format("(used, tokens.size)[1]"))
    assert one.hash != one.hash


def test_a_module_beside_the_notebook_counts_and_a_library_does_not(
    session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "besides_notebook.py"
    file.write_text("def helped(x):\n    return x\n")
    try:
        for line in (
            "import besides_notebook as used",
            "from besides_notebook import helped as used",
        ):
            one = session().run(f"{line}\nimport timm\n" + CELL.format("(used, timm)"))
            before = one.hash
            assert one.hash == before
            file.write_text(file.read_text() + "# edited\n")
            assert one.hash != before
    finally:
        sys.modules.pop("besides_notebook", None)


@pytest.mark.parametrize("code", [CELL, "class rank(keeprate.Method):\n    name = '{}'\n"])
def test_code_run_in_no_module_is_not_taken_for_pythons_own(code: str) -> None:
    space: dict[str, Any] = {"keeprate": keeprate}
    exec(code.format("tokens.size"), space)
    assert space["rank"].__module__ in ("", "builtins")
    before = source_sha256(space["rank"])
    exec(code.format("-tokens.size"), space)
    assert "" != before != source_sha256(space["rank"])
