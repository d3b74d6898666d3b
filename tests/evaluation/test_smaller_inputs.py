"""Methods that make the input smaller share a pass, its decoding and the study with all others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import keeprate
from image_folder_factory import Folder, draw
from keeprate import ComparisonTable
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.data.images import build_transform
from keeprate.results.store import Store
from references.tiny import tiny_vit
from study_factory import runs

METHODS = ["downsample", "patch-size:grid=1", "downsample:grid=4,then=tome", "tome"]


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return tiny_vit()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(draw(tmp_path_factory.mktemp("photographs"), images=6))


@pytest.fixture(scope="module")
def compared(vit: nn.Module, data: Folder, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("runs") / "store"
    how = {"progress": False, "accelerator": "cpu", "workers": 0}
    table = keeprate.compare(vit, data, methods=METHODS, budgets="40%", folder=folder, **how)
    assert isinstance(table, ComparisonTable)
    assert not table.problems
    return Store(folder)


def test_a_pass_of_all_methods_decodes_each_image_once(compared: Store, data: Folder) -> None:
    assert sorted(data.decoded) == list(range(6))


def test_rows_are_those_of_the_model_at_that_size_on_its_own_images(
    compared: Store, vit: nn.Module, data: Folder
) -> None:
    results, problems = compared.results()
    assert not problems
    (found,) = (
        result
        for result in results
        if result.run.method == "downsample" and result.run.parameters["grid"] == "auto"
    )
    assert found.run.input is not None
    size = found.run.input.image_size
    assert size == (12, 12)
    assert found.run.backbone.image_size == (20, 20)
    smaller = keeprate.reduce(vit, "downsample", grid="3")
    transform = build_transform(replace(ModelInput.of(vit), image_size=(20, 20)), size)
    images = torch.stack([transform(data.image(index)) for index in range(6)])
    with torch.no_grad():
        expected = smaller(images)
    rows = compared.rows(found.id)
    assert rows["prediction"].to_list() == expected.argmax(dim=1).tolist()
    confidence = expected.softmax(dim=1).max(dim=1).values
    assert torch.allclose(torch.tensor(rows["confidence"].to_list()).float(), confidence)
    assert set(rows["macs"]) == {smaller.costs().total}
    assert found.measured.macs.total == smaller.costs().total
    assert found.measured.macs.unpruned == keeprate.macs(vit)


def test_every_run_of_a_study_has_a_cost_that_it_follows() -> None:
    text = """
    methods:
      - downsample
      - {name: downsample, parameters: {grid: "12"}}
      - {name: downsample, parameters: {grid: "12", then: tome}}
    budgets: [80%, 40%]
    schedules: [r]
    """
    asked = [(run.values, run.cost.schedule, run.cost.budget) for run in runs(text)]
    assert asked == [
        ({}, None, "80%"),
        ({}, None, "40%"),
        # a grid that is given has its own cost, and runs once
        ({"grid": "12"}, None, None),
        ({"grid": "12", "then": "tome"}, "r", "80%"),
        ({"grid": "12", "then": "tome"}, "r", "40%"),
    ]


def test_all_methods_are_those_that_can_follow_the_schedules() -> None:
    names = {run.method for run in runs("schedules: [r=4]")}
    assert "tome" in names
    assert not names & {"downsample", "patch-size"}
    assert {"downsample", "patch-size"} <= {run.method for run in runs("budgets: [65%]")}
