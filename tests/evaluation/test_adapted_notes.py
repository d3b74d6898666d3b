"""What was resampled in the weights is told before a run, and kept with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import timm
from safetensors.torch import save_file

from keeprate.evaluation.events import Event, Note
from keeprate.request import ModelSpec
from keeprate.results.store import Store
from run_factory import request, run


def test_a_run_notes_which_weights_were_resampled_for_its_image_size(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(timm.create_model("test_vit", num_classes=10).state_dict(), path)
    model = ModelSpec("test_vit", weights=path, image_size=(32, 64))
    told: list[Event] = []
    asked = replace(request([("random", {}, "r=1")], limit=2), model=model)
    run(tmp_path / "store", asked, listen=told.append)
    said = "For this image size: pos_embed resampled from 10x10 to 2x4 patches."
    assert Note(said) in told
    results, _ = Store(tmp_path / "store").results()
    assert [result.environment.notes for result in results] == [(said,), (said,)]
