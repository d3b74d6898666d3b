"""Images to solve budgets on are drawn, described and not tested; a lack is told early."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from keeprate import KeeprateError, api
from keeprate.engine import RunError
from keeprate.evaluation import calibration as evaluation
from keeprate.evaluation.calibration import calibration_note, solve_budgets
from keeprate.evaluation.events import Note
from keeprate.reduction.calibration import Calibrated
from keeprate.request import CalibrationSpec, Cost, DataSpec, Request, RunSpec
from keeprate.results.partial_rows import PartialRows
from keeprate.results.records import CalibrationInfo
from keeprate.results.store import Store
from keeprate.study.build import prepare
from keeprate.study.comparison import Comparison
from keeprate_datasets.digits import Digits
from run_factory import request, run

SMALL = CalibrationSpec(images=4)
MERGING = RunSpec("ltmp", {"merge": 0.97}, Cost("r", "45%"))


def asked(calibration: CalibrationSpec = SMALL, **options: Any) -> Request:
    plain = request((), limit=4, calibration=calibration, **options)
    return Request(plain.model, plain.data, (MERGING,), plain.options)


def drawn(comparison: Comparison) -> list[str]:
    sample = comparison.calibration
    assert sample is not None
    samples = sample.data.samples()
    return [samples[index].id for index in sample.prepared.samples.indices]


def photographs(root: Path, *pixels: int) -> Path:
    for name, value in zip(("ant", "bee"), pixels, strict=True):
        path = root / name / f"{value}.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((20, 20, 3), value, dtype=np.uint8)).save(path)
    return root


def refusal(**given: Any) -> str:
    model = timm.create_model("test_vit", num_classes=2)
    with pytest.raises(KeeprateError) as refused:
        api.specified({"model": model, "methods": "ltmp", "budgets": "50%", **given})
    return str(refused.value)


def test_the_digits_that_are_not_tested_are_drawn_by_the_seed() -> None:
    tested = {sample.id for sample in Digits().samples()}
    comparisons = [prepare(asked(CalibrationSpec(images=4, seed=seed))) for seed in (0, 1)]
    first, other = map(drawn, comparisons)
    assert len(set(first)) == 4
    assert set(first) != set(other)
    assert not tested & {*first, *other}
    ids = [comparison.jobs[1].id for comparison in comparisons]
    assert ids[0] != ids[1]
    info = comparisons[0].jobs[1].info.calibration
    assert info is not None
    assert (info.data, info.is_own, info.images, info.scale) == ("digits", True, 4, None)
    assert info.budget_macs == int(0.45 * comparisons[0].unpruned_macs())


@pytest.mark.slow
def test_a_solved_budget_is_found_again_and_is_no_part_of_the_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [full, merging] = [job.id for job in prepare(asked()).jobs]
    heard: list[object] = []
    assert run(tmp_path / "a", asked(), listen=heard.append).finished == [full, merging]
    assert any(isinstance(event, Note) and "Solved on 4 samples" in event.text for event in heard)
    result = Store(tmp_path / "a").read(merging)
    found = result.run.calibration
    assert found is not None
    assert found.scale is not None
    assert found.macs is not None
    assert 0 < found.macs <= found.budget_macs
    assert not (tmp_path / "a" / "partial").exists()

    def solved_again(*_: object) -> Calibrated:
        raise AssertionError

    monkeypatch.setattr(evaluation, "calibrate", solved_again)
    assert set(run(tmp_path / "b", asked()).reused) == {full, merging}
    assert Store(tmp_path / "b").read(merging).run == result.run


def test_all_rows_of_a_run_have_the_schedule_that_was_found_first(tmp_path: Path) -> None:
    comparison, partial = prepare(asked()), PartialRows(tmp_path)
    job = comparison.jobs[1]
    assert job.info.calibration is not None
    earlier = job.info.calibration.model_copy(update={"scale": 2.5, "macs": 1})
    partial.keep_calibration(job.id, earlier)
    assert solve_budgets(comparison, comparison.jobs, partial) == {job.id: earlier}
    settled = comparison.settle(job.id, earlier)
    assert (settled.id, settled.model.plan.scale) == (job.id, 2.5)
    assert (
        sum(stage.keep for stage in settled.info.stages)
        < sum(stage.keep for stage in job.info.stages)
        or settled.info.stages != job.info.stages
    )
    partial.forget([job.id])
    assert partial.calibration(job.id) is None


def test_an_exception_in_a_calibration_belongs_to_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> Calibrated:
        raise ValueError("no such image")

    monkeypatch.setattr(evaluation, "calibrate", breaks)
    comparison = prepare(asked())
    [error] = solve_budgets(comparison, comparison.jobs, PartialRows(tmp_path)).values()
    assert isinstance(error, RunError)
    assert error.error == "ValueError: no such image"


def test_a_mean_cost_off_the_budget_is_told_with_the_reason() -> None:
    info = CalibrationInfo(
        data="digits",
        parameters={},
        is_own=True,
        images=4,
        seed=0,
        sha256="",
        budget_macs=2_000_000_000,
        scale=0.0,
        macs=1_000_000_000,
    )
    assert calibration_note(info) == (
        "The images of the calibration cost 1.0000 GMACs on average, not 2.0000 GMACs: the method "
        "keeps no more of them."
    )
    assert calibration_note(info.model_copy(update={"macs": 1_999_000_000})) is None
    assert "too coarse" in str(calibration_note(info.model_copy(update={"scale": 1.0})))


def test_a_method_that_needs_images_and_has_none_is_refused_before_anything_is_loaded(
    tmp_path: Path,
) -> None:
    root = photographs(tmp_path, 1, 2)
    assert refusal(data=f"image-folder:{root}") == (
        "budgets: Method 'ltmp' keeps a different number of tokens in every image, so a budget "
        "has to be solved on images that are not tested, and 'image-folder' offers none: name some "
        "with calibration=DATA, or give a schedule in place of the budget."
    )
    again = f"image-folder:{root}/../{root.name}"
    assert refusal(data=f"image-folder:{root}", calibration=again) == (
        "calibration: Budgets cannot be solved on 'image-folder': it is the data set that is "
        "tested. Name other images with calibration=DATA, as those of the training."
    )
    assert refusal(data="digits", calibration="digitz").startswith("calibration: No data set")


def test_copies_of_tested_images_are_refused(tmp_path: Path) -> None:
    tested, copies = photographs(tmp_path / "a", 1, 2), photographs(tmp_path / "b", 3, 2)
    given = {
        "model": timm.create_model("test_vit", num_classes=2),
        "methods": "ltmp",
        "budgets": "50%",
        "data": f"image-folder:{tested}",
        "calibration": f"image-folder:{copies}",
    }
    given["model"].pretrained_cfg["input_size"] = (3, 160, 160)
    (wanted,) = api.specified(given).requests
    with pytest.raises(KeeprateError) as refused:
        prepare(wanted)
    assert str(refused.value) == (
        "Budgets cannot be solved on 'image-folder': 1 of 2 images drawn from it are tested. Name "
        "other images with --calibration DATA, as those of the training."
    )


def test_who_names_no_methods_gets_those_that_can_be_run(tmp_path: Path) -> None:
    root = photographs(tmp_path, 1, 2)
    model = timm.create_model("test_vit", num_classes=2)
    given = {"model": model, "methods": "tome", "budgets": "80%", "data": f"image-folder:{root}"}
    (wanted,) = api.specified(given).requests
    comparison = prepare(replace(wanted, runs=(*wanted.runs, MERGING), only_fitting=True))
    assert [job.info.method for job in comparison.jobs] == ["full", "tome"]
    assert comparison.notes[-1] == (
        "Left out: ltmp, whose budgets are solved on images that are not tested: name some with "
        "--calibration DATA."
    )


def test_digits_for_calibration_are_the_other_digits() -> None:
    data = Digits()
    training = data.calibration()
    assert len(training.samples()) == 1197
    assert training.samples()[0].id.startswith("training/")
    assert training.fingerprint() != data.fingerprint()
    assert training.contents([3, 4]) == training.contents()[3:5]
    assert training.image(1196).shape == (3, 32, 32)
    assert training.image(0).dtype == torch.uint8
    assert DataSpec("digits") == asked().data
