"""A run's id changes with whatever can change its rows, and with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from keeprate.request import PRECISIONS
from keeprate.results import records
from keeprate.results.records import CalibrationInfo, InputInfo, RunInfo
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin
from paths import SUPPORT
from results_factory import make_backbone, make_data, make_run


def test_the_id_is_the_same_on_every_machine() -> None:
    run = make_run(keep=40, parameters={"r": 8, "pattern": "I'-S", "rate": 0.5, "on": True})
    assert run.id == "tome-574dd7b98ced"


def test_another_process_finds_the_same_id() -> None:
    """Whatever order sets and hashes have there."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from results_factory import make_run;"
    code += "print(make_run(parameters={'a': 1, 'b': {'c': 2}}, sources={'x': '0', 'y': '1'}).id)"
    command = [sys.executable, "-c", code, str(SUPPORT)]
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "HOME": "/nowhere"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    here = make_run(parameters={"b": {"c": 2}, "a": 1}, sources={"y": "1", "x": "0"})
    assert found.stdout.strip() == here.id


def test_the_id_ignores_the_order_of_keys() -> None:
    parameters = {"a": 1, "b": {"c": 2, "d": [3, None]}}
    turned = {"b": {"d": (3, None), "c": 2}, "a": 1}
    assert make_run(parameters=parameters).id == make_run(parameters=turned).id
    sources = {"method": "00", "data set": "11"}
    turned_sources = dict(reversed(sources.items()))
    assert make_run(sources=sources).id == make_run(sources=turned_sources).id
    skipped = {"a": "torn", "b": "torn"}
    turned_skipped = {"b": "empty", "a": "empty"}
    assert data_run(skipped=skipped).id == data_run(skipped=turned_skipped).id
    transform = {"mean": [0.5], "crop_pct": 1.0}
    turned_transform = {"crop_pct": 1.0, "mean": (0.5,)}
    assert data_run(transform=transform).id == data_run(transform=turned_transform).id


def data_run(**changes: Any) -> RunInfo:
    return make_run(data=make_data(**changes))


def backbone_run(**changes: Any) -> RunInfo:
    return make_run(backbone=make_backbone().model_copy(update=changes))


CALIBRATION = CalibrationInfo(
    data="digits",
    parameters={},
    is_own=True,
    images=64,
    seed=0,
    sha256="ab" * 32,
    budget_macs=29_000_000,
)

SAME_ROWS = {
    "what was asked for of the transform": data_run(transform_changes={"crop_pct": 1.0}),
    "where the method came from": make_run(method_origin="/elsewhere/my_method.py"),
    "where the backbone came from": make_run(backbone_origin="/elsewhere/my_backbone.py"),
    "where the data set came from": make_run(data_origin="/elsewhere/my_data.py"),
    "how the schedule is spelled": make_run(schedule="r=8"),
    "how the budget is spelled": make_run(budget="65%"),
    "the seed written down": make_run(seed=1),
    "where a file of the method lies": make_run(
        parameters={"weights": "/a.pt"}, files=("weights",)
    ),
    "the model's name": backbone_run(name="hf:elsewhere/digits"),
    "the name of its weights": backbone_run(
        weights=WeightsOrigin(WeightsKind.FILE, "/elsewhere/weights.safetensors")
    ),
    "the data set's name": data_run(name="numbers"),
    "what tells it from others of its name": data_run(variant="gaussian-noise 3"),
    "the places where its files lie": data_run(places={"root": "/elsewhere"}),
    "what is said of its samples": data_run(notes=("Passed over: ending in .txt: 1 (a.txt).",)),
}
OTHER_ROWS = {
    "method": make_run("random"),
    "parameters": make_run(parameters={"a": 1}),
    "stages": make_run(keep=40),
    "stages of other sizes": make_run(stages_sha256="00"),
    "the method's source": make_run(sources={"method": "cd" * 32}),
    "the data set's source": make_run(sources={"method": "ab" * 32, "data set": "00"}),
    "model class": backbone_run(cls="DistilledVisionTransformer"),
    "weights": backbone_run(weights_sha256="ff"),
    "structure": backbone_run(structure_sha256="ff"),
    "image size": backbone_run(image_size=(32, 64)),
    "fingerprint": data_run(fingerprint="00"),
    "number of images": data_run(images=100),
    "part of the images": data_run(part=(0.0, 0.5, 200)),
    "another part of them": data_run(part=(0.5, 1.0, 200)),
    "a part of more images": data_run(part=(0.0, 0.5, 201)),
    "skipped images": data_run(skipped={"a": "torn"}),
    "transform": data_run(transform={"interpolation": "bilinear"}),
    "data parameters": data_run(parameters={"column": "text"}),
    "precision": make_run(precision="bfloat16"),
    "empty last MLP": make_run(empty_last_mlp=True),
    "reduces": make_run(reduces=True),
    "a smaller input": make_run(
        input=InputInfo(image_size=(24, 24), patch_size=(4, 4)),
    ),
    "a budget solved on images": make_run(calibration=CALIBRATION),
}


@pytest.mark.parametrize("what", SAME_ROWS)
def test_the_id_ignores_names_and_spellings(what: str) -> None:
    assert SAME_ROWS[what] != make_run()
    assert SAME_ROWS[what].id == make_run().id


@pytest.mark.parametrize("what", OTHER_ROWS)
def test_the_id_tells_runs_apart_whose_rows_may_differ(what: str) -> None:
    ids = {run.id for run in OTHER_ROWS.values()}
    assert OTHER_ROWS[what].id != make_run().id
    assert len(ids) == len(OTHER_ROWS)


def test_what_a_calibration_finds_does_not_change_the_id_but_what_it_is_asked_does() -> None:
    def changed(**changes: Any) -> str:
        return make_run(calibration=CALIBRATION.model_copy(update=changes)).id

    asked = changed()
    assert changed(scale=0.4, macs=28_990_000) == asked
    assert changed(data="elsewhere", parameters={"root": "there"}, is_own=False) == asked
    solved = {"stages": (), "stages_sha256": "00"}
    assert make_run(calibration=CALIBRATION).model_copy(update=solved).id == asked
    others = {
        changed(sha256="cd" * 32),
        changed(budget_macs=28_000_000),
        make_run(schedule="r", calibration=CALIBRATION).id,
    }
    assert len(others | {asked}) == 4


def test_every_field_is_known_to_change_the_id_or_not_to() -> None:
    """A new field of a description needs a line above."""

    def fields(run: RunInfo) -> dict[str, object]:
        parts = {"": run, "backbone.": run.backbone, "data.": run.data}
        return {start + name: value for start, part in parts.items() for name, value in part}

    plain = fields(make_run())
    others = [fields(run) for run in (*SAME_ROWS.values(), *OTHER_ROWS.values())]
    untried = {name for name in plain if all(other[name] == plain[name] for other in others)}
    assert untried == {"backbone.num_parameters"}  # which the weights imply


def test_the_id_changes_when_keeprate_s_own_rows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_run().id
    monkeypatch.setattr(records, "ROWS_VERSION", records.ROWS_VERSION + 1)
    assert make_run().id != before


def test_the_id_of_one_precision_changes_when_its_rows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: make_run(precision=name).id for name in PRECISIONS}
    monkeypatch.setattr(records, "ROWS_CHANGED", {"64-true": 2})
    after = {name: make_run(precision=name).id for name in PRECISIONS}
    assert [name for name in PRECISIONS if before[name] != after[name]] == ["64-true"]
