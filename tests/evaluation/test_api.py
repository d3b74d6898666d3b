"""`keeprate.compare` runs what it is asked for, once, and tells it in a table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import timm
import torch
from click.testing import CliRunner
from torch import nn

import keeprate
from api_factory import SMALL, compare
from keeprate import KeeprateError, Needs
from keeprate import api as asking
from keeprate.cli import keeprate as command
from keeprate.plugins.registry import registry
from keeprate.request import Cost, DataSpec, ModelSpec, Request, RunSpec
from keeprate.resizing import InputMethod
from keeprate.results.store import Store
from keeprate.study.build import prepare
from keeprate_methods.random_drop import RandomDrop
from keeprate_methods.tome import ToMe


@keeprate.as_method(needs=Needs.KEYS)
def key_norm(tokens, attention, stage, power: float = 1.0):  # type: ignore[no-untyped-def]
    return attention.k.norm(dim=-1).mean(dim=1) ** power


@keeprate.as_method
def fails(tokens, attention, stage):  # type: ignore[no-untyped-def]
    raise ValueError("no luck")


@pytest.fixture(autouse=True)
def position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def classifier() -> nn.Module:
    """The module that ships with the digits, as a user may have it at hand."""
    model = registry().dataset("digits")().classifier()
    assert model is not None
    return model


@pytest.mark.slow
def test_every_kind_of_method_is_run_at_every_cost() -> None:
    table = keeprate.compare(
        data="digits",
        methods=["zero-tprune:pattern=I", ToMe, RandomDrop(seed=7), key_norm, key_norm(power=-1.0)],
        budgets=["80%", 0.03],
        **SMALL,
    )
    found = set(table.frame.select("method", "parameters", "asked").rows())
    assert len(table) == table.frame.height == 11
    assert ("random", "seed=7", "0.03") in found
    assert ("key-norm", "power=-1.0", "80%") in found
    assert {method for method, _, _ in found} == {
        "zero-tprune",
        "tome",
        "random",
        "key-norm",
        "full",
    }
    assert sum("pattern=I " in parameters for _, parameters, _ in found) == 2


@pytest.mark.slow
def test_seeds_are_for_methods_that_have_one_and_name_none() -> None:
    methods = ["tome", "random", "random:5", RandomDrop]
    table = compare(methods=methods, seeds=[1, 2])
    seeds = table.frame.filter(pl.col("method") == "random")["parameters"]
    assert sorted(seeds) == ["seed=1", "seed=2", "seed=5"]
    assert table.frame.height == 5


@pytest.mark.slow
def test_all_methods_that_fit_run_where_none_is_named() -> None:
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, num_heads=3, depth=3,
        num_classes=10, class_token=False, global_pool="avg",
    )  # fmt: skip
    table = compare(model, "digits", schedules="keep=0.7@1")
    classes = {name: offer.cls for name, offer in registry().methods.items()}
    left_out = {
        name for name, cls in classes.items() if cls.requires_class_token or cls.requires_weights
    }
    assert {"class-attention", "dynamicvit"} <= left_out
    # these follow no schedule
    left_out |= {name for name, cls in classes.items() if issubclass(cls, InputMethod)}
    assert set(table.frame["method"]) == set(registry().methods) - left_out


@pytest.mark.slow
def test_nothing_is_computed_twice_and_the_command_line_shares_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed = "compare --data digits --method tome --schedule r=4 --limit 20 --accelerator cpu"
    assert CliRunner().invoke(command, typed.split()).exit_code == 0
    monkeypatch.setattr("keeprate.evaluation.comparison_runner.ComparisonRunner.run", refuse)
    table = compare(methods="tome")
    assert table.folder == Path("runs/digits")
    assert table.frame.height == 2
    assert compare(methods=ToMe(), name="beside").frame.height == 2  # from the folder beside it
    with pytest.raises(AssertionError, match="computed"):
        compare(methods="tome", force=True)


def refuse(self: object) -> None:
    raise AssertionError("computed")


@pytest.mark.slow
def test_a_module_is_the_same_model_as_the_one_loaded_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named = compare(methods="tome")
    monkeypatch.setattr("keeprate.evaluation.comparison_runner.ComparisonRunner.run", refuse)
    given = compare(classifier(), "digits", methods="tome")
    assert given.folder == Path("runs/vit_digits-digits")
    assert sorted(given.frame["id"]) == sorted(named.frame["id"])


@pytest.mark.slow
def test_other_weights_or_another_structure_are_another_model() -> None:
    trained, scaled = classifier(), classifier()
    with torch.no_grad():
        trained.head.bias.add_(1)  # type: ignore[operator, union-attr]
    scaled.blocks[0].attn.scale *= 2  # type: ignore[index, union-attr]
    found = [compare(model, "digits", methods="tome", name="one") for model in
             (classifier(), trained, scaled)]  # fmt: skip
    assert len({run for table in found for run in table.frame["id"]}) == 6


@pytest.mark.slow
def test_a_module_is_left_as_it_is() -> None:
    model = classifier().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    compare(model, "digits", methods="tome", precision="bf16-true")
    assert model.training
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {tensor.dtype for tensor in after.values()} == {torch.float32}


@pytest.mark.slow
def test_images_are_prepared_as_the_modules_configuration_says() -> None:
    model = classifier()
    ids = set(compare(model, "digits", methods="tome").frame["id"])
    model.pretrained_cfg = {**model.pretrained_cfg, "mean": (0.1, 0.1, 0.1)}  # type: ignore[dict-item]
    assert not ids & set(compare(model, "digits", methods="tome").frame["id"])
    del model.pretrained_cfg
    with pytest.raises(KeeprateError, match="does not say how its images are prepared: give it a"):
        compare(model, "digits", methods="tome")


@pytest.mark.slow
def test_a_data_set_may_be_an_instance() -> None:
    data = registry().dataset("digits")()
    table = compare(classifier(), data, methods="tome")
    assert sorted(table.frame["id"]) == sorted(compare(methods="tome").frame["id"])


@pytest.mark.slow
def test_a_changed_function_is_run_again_and_both_are_kept() -> None:
    cell = "@keeprate.as_method\ndef mine(tokens, attention, stage): return {}tokens.x.sum(dim=-1)"
    space: dict[str, Any] = {"__name__": "cells", "keeprate": keeprate}
    ids = []
    for sign in ("", "-", ""):
        exec(cell.format(sign), space)
        ids.append(compare(methods=space["mine"]).frame.filter(method="mine")["id"][0])
    assert ids[0] == ids[2] != ids[1]
    assert {result.id for result in Store("runs/digits").results()[0]} > {*ids}


def test_nothing_but_failures_is_an_error() -> None:
    with pytest.raises(KeeprateError, match=r"No run could be finished: fails-.*no luck"):
        compare(methods=fails)


@pytest.mark.slow
def test_silence_is_kept_and_progress_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    compare(methods="tome")
    assert capsys.readouterr() == ("", "")
    compare(methods="tome", progress=True)
    told = capsys.readouterr()
    assert told.out == ""
    assert "2 reused" in told.err


def test_ctrl_c_ends_it_and_the_same_call_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = asking.execute

    def stopped(requests: Any, store: Any, engine: Any, listen: Any, stop: Any) -> Any:
        stop.is_set = True
        return plain(requests, store, engine, listen, stop)

    with monkeypatch.context() as patch:
        patch.setattr(asking, "execute", stopped)
        with pytest.raises(KeyboardInterrupt, match="2 runs left; the same call goes on from here"):
            compare(methods="tome")
    assert compare(methods="tome").frame.height == 2


@keeprate.as_method(name="tome")
def impostor(tokens, attention, stage):  # type: ignore[no-untyped-def]
    return tokens.size


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": "tomme"}, "No method 'tomme'. Did you mean 'tome'"),
        ({"methods": "tome:x=1"}, "No parameter 'x' in method 'tome'"),
        ({"methods": [print]}, "decorate it with @keeprate.as_method"),
        ({"methods": impostor}, "Two methods are named 'tome': give impostor another name"),
        ({"methods": "tome", "schedules": "q=3"}, "q=3"),
        ({"methods": "tome", "budgets": "much"}, "much"),
        ({"methods": "tome", "accelerator": "warp"}, "No accelerator 'warp'"),
        ({"methods": "tome", "precision": "8-true"}, "No precision '8-true'"),
        ({"methods": "tome", "limit": 0}, "limit: must be greater than or equal to 1, not 0."),
        ({"methods": "tome", "batch_size": 0.5}, "batch_size: must be a whole number, not 0.5."),
        (
            {"methods": "tome", "workers": -1},
            "workers: must be greater than or equal to 0",
        ),
        ({"methods": "tome", "seeds": []}, "seeds: is an empty list."),
        ({"methods": "tome", "seeds": [1, 2**63]}, "seeds[1]: must be from -9223372036854775808 "),
        ({"methods": "tome", "seeds": [-(2**64)]}, "to 9223372036854775807, not -18446744073709"),
        ({"methods": "tome", "seeds": [10**5000]}, "seeds[0]: must be from"),
        ({"methods": "random:seed=9223372036854775808"}, "seed must be a number from -92233720368"),
        (
            {"methods": {"name": "random", "parameters": {"seed": -(2**64)}}},
            "seed must be a number",
        ),
        ({"methods": RandomDrop(seed=2**64)}, "RandomDrop.seed must be a number from"),
        ({"methods": "tome", "limit": 2**64}, "limit: must be from 1 to 9223372036854775807"),
        ({"methods": "tome", "batch_size": 2**40}, "batch_size: must be from 1 to 1048576, not"),
        ({"methods": "tome", "workers": 10**6}, "workers: must be from 0 to 1024, not 1000000."),
        ({"methods": "tome", "devices": 10**6}, "devices: must be from 1 to 1024, not 1000000."),
        ({"methods": "tome", "runs_per_pass": 2**64}, "runs_per_pass: must be from 1 to 92233720"),
        ({"methods": "tome", "model": "x", "image_size": 10**6}, "from 1 to 65536, not 1000000."),
        ({"methods": "tome", "schedules": "r=" + "9" * 400}, "has a number of more than 18 digits"),
        ({"methods": "tome", "budgets": "9" * 5000}, "has a number of more than 18 digits."),
        ({"methods": "tome", "seeds": [True]}, "seeds[0]: must be a whole number, not True."),
        ({"methods": "tome", "name": "../up"}, "name: '../up' must be one plain folder name"),
        ({"methods": "tome", "name": "a", "folder": "b"}, "name and folder both say where"),
        ({"methods": "tome", "model": 3}, "model: must be a name, not 3."),
        ({"methods": "tome", "model": "vit_tiny_patch"}, "No model 'vit_tiny_patch'"),
        ({"methods": "tome", "data": 3}, "data: must be a name, not 3."),
        ({"methods": "tome", "data": "digit"}, "No data set 'digit'. Did you mean 'digits'"),
        ({"methods": "tome", "model": nn.Linear(1, 1)}, "does not say how its images are prepared"),
        ({"methods": "tome", "weights": "x"}, "model: weights goes with a model's name."),
        ({"methods": "tome", "data": "imagenet"}, 'needs root: data="imagenet:FOLDER".'),
        ({"methods": ["tome", RandomDrop, print]}, "methods[2]: A method is a name, a class"),
        ({"methods": "tome", "engine": "rai"}, "No engine 'rai'"),
    ],
)
def test_mistakes_are_told_before_anything_is_computed(
    options: dict[str, Any], said: str, position: Path
) -> None:
    with pytest.raises(KeeprateError) as caught:
        compare(**options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(position.rglob("*.parquet"))


def test_weights_and_size_are_those_of_a_name_not_of_a_module() -> None:
    with pytest.raises(KeeprateError, match=r"^model: weights .* a model's name, not a module\.$"):
        compare(classifier(), "digits", weights="x")


def test_several_mistakes_are_told_together() -> None:
    with pytest.raises(KeeprateError) as caught:
        compare(methods=["tome", "tomme"], limit=0)
    assert str(caught.value).splitlines() == [
        "2 problems in these arguments:",
        "  limit: must be greater than or equal to 1, not 0.",
        "  methods[1]: No method 'tomme'. Did you mean 'tome'?",
    ]


def test_only_what_is_named_can_be_asked_for_elsewhere() -> None:
    named = RunSpec("tome")
    assert Request(ModelSpec("vit"), DataSpec("digits"), (named,)).is_by_name
    data = registry().dataset("digits")()
    for request in (
        Request(ModelSpec(), DataSpec(built=data), (named,)),
        Request(ModelSpec(built=asking._loaded(classifier())), DataSpec("digits"), (named,)),
        Request(ModelSpec(), DataSpec("digits"), (named, RunSpec("key-norm", given=key_norm))),
    ):
        assert not request.is_by_name


def test_an_engine_that_asks_again_by_name_is_told_that_there_is_none() -> None:
    given = Request(
        ModelSpec(), DataSpec("digits"), (RunSpec("key-norm", {}, Cost("r=4"), key_norm),)
    )
    assert prepare(given).request is None
    named = Request(ModelSpec(), DataSpec("digits"), (RunSpec("tome", {}, Cost("r=4")),))
    assert prepare(named).request is named


def test_a_run_says_where_its_method_came_from() -> None:
    table = compare(methods=[key_norm, ToMe])
    found = {result.run.method: result.run for result in Store(table.folder).results()[0]}
    assert found["key-norm"].method_origin == f"given ({__name__})"
    assert found["tome"].method_origin == registry().methods["tome"].origin
    assert set(found["key-norm"].sources) == {"method", "data set"}


ON_TWO_DEVICES = """
import keeprate

methods = ["random", "tome"]
how = {"data": "digits", "limit": 30, "accelerator": "cpu", "workers": 0, "logger": "csv"}
table = keeprate.compare(methods=methods, schedules="r=4", seeds=[1, 2], devices=2, **how)
print("|".join(sorted(table.frame["id"])))
"""


@pytest.mark.system
def test_several_devices_share_the_images_and_every_process_has_the_table(position: Path) -> None:
    script = position / "two.py"
    script.write_text(ON_TWO_DEVICES)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=240
    )
    told = [line for line in done.stdout.splitlines() if "|" in line]
    alone = compare(methods=["random", "tome"], seeds=[1, 2], limit=30, name="alone", force=True)
    assert told == ["|".join(sorted(alone.frame["id"]))] * 2
    assert done.stderr.count("4 done, 0 left") == 1
    assert list((position / "runs/digits").rglob("metrics.csv"))


def test_import_is_light() -> None:
    code = "import sys, keeprate; keeprate.as_method; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
