"""What an engine of Ray refuses before it begins, and what a worker refuses to compute."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keeprate import KeeprateError
from keeprate.evaluation.engines.ray_engine import RayEngine
from keeprate.evaluation.remote_task import StoredLogits, refuse_differences, refuse_versions
from keeprate.study.build import build_engine, prepare
from keeprate.study.comparison import Comparison
from paths import DOCS
from ray_factory import Received, request, task_of

PAGE = (DOCS / "clusters.md").read_text(encoding="utf-8")


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(KeeprateError) as refused:
        build_engine("ray")
    assert str(refused.value) == (
        "Engine 'ray': Ray is not installed: pip install 'keeprate[ray]'."
    )


def test_its_parameters_are_read_from_text() -> None:
    engine = build_engine("ray:ray://head:10001,cpus=2,gpus=0.5,workers=3")
    assert isinstance(engine, RayEngine)
    assert (engine.address, engine.cpus, engine.gpus) == ("ray://head:10001", 2.0, 0.5)
    assert (engine.workers, engine.shard_images, engine.attempts) == (3, None, 3)


@pytest.mark.parametrize("spec", re.findall(r"^\$ .*--engine (ray\S*)", PAGE, flags=re.MULTILINE))
def test_engines_are_made_from_what_the_page_tells_to_type(spec: str) -> None:
    assert isinstance(build_engine(spec), RayEngine)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"workers": 0}, "workers must be over 0, not 0."),
        ({"cpus": 0.0}, "cpus must be over 0, not 0.0."),
        ({"shard_images": -1}, "shard_images must be over 0, not -1."),
        ({"shard_seconds": float("nan")}, "shard_seconds must be over 0, not nan."),
        ({"gpus": 1.5}, "gpus must be a share of one or whole ones, not 1.5."),
        ({"gpus": -1.0}, "gpus must be a share of one or whole ones, not -1.0."),
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_refused(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(KeeprateError) as refused:
        RayEngine(**values)
    assert str(refused.value) == said


def refusal(engine: RayEngine, comparison: Comparison) -> str:
    with pytest.raises(KeeprateError) as refused:
        engine.run([task_of(comparison, images=2)], Received().sink())
    return str(refused.value)


def test_what_was_not_asked_for_by_name_cannot_be_made_again() -> None:
    comparison = prepare(request("random"))
    comparison.request = None
    assert refusal(RayEngine(), comparison) == (
        "Workers make the comparison again by name, and this one was made of objects: describe it "
        "as a Request, or leave the engine out."
    )


def test_devices_are_not_shared_out_twice() -> None:
    asked = request("random")
    loop = replace(asked.options.loop, devices=2)
    comparison = prepare(replace(asked, options=replace(asked.options, loop=loop)))
    assert refusal(RayEngine(), comparison) == (
        "The engine gives each worker its share of the devices: leave --devices out, and tell the "
        "engine what a worker gets."
    )


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_a_cluster_that_does_not_answer_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    said = refusal(RayEngine(address), prepare(request("random")))
    assert said == f"No Ray cluster at '{address}': [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [(1, 0, 10), (4, 0, 2), (0.5, 0, 20), (1, 1, 1), (1, 0.25, 4), (2, 0.1, 4), (16, 0, 0)],
)
def test_room_is_counted_machine_by_machine(
    monkeypatch: pytest.MonkeyPatch, cpus: float, gpus: float, expected: int
) -> None:
    from keeprate.evaluation.engines.ray_cluster import room

    resources = [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 2.0}, {}]
    nodes = [{"Alive": True, "Resources": each} for each in resources]
    nodes.append({"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}})
    monkeypatch.setattr("ray.nodes", lambda: nodes)
    assert room(cpus, gpus) == expected


def test_other_versions_are_refused_but_other_builds_are_not() -> None:
    refuse_versions({"torch": "2.15.0", "timm": "1.0"}, {"torch": "2.15.0+cu130", "timm": "1.0"})
    refuse_versions({"torch": "2.15.0", "transformers": "5"}, {"torch": "2.15.0"})
    with pytest.raises(KeeprateError) as refused:
        refuse_versions({"torch": "2.15.0"}, {"torch": "2.14.1"})
    assert str(refused.value) == (
        "torch is 2.14.1, not 2.15.0: install the same version on every machine."
    )


def test_what_differs_between_machines_is_named(tmp_path: Path) -> None:
    infos = [job.info for job in prepare(request("random")).jobs]
    refuse_differences(infos, infos)
    weights = infos[0].backbone.model_copy(update={"weights_sha256": "other"})
    data = infos[0].data.model_copy(update={"fingerprint": "other"})
    others = [each.model_copy(update={"backbone": weights, "data": data}) for each in infos]
    with pytest.raises(KeeprateError, match="differs in the model or its weights and the data set"):
        refuse_differences(infos, others)
    with pytest.raises(KeeprateError, match="differs in its methods: make all machines the same"):
        refuse_differences(infos, infos[:1])


def test_logits_are_found_by_the_places_of_their_samples() -> None:
    stored = StoredLogits((3, 5, 8, 9), np.arange(8).reshape(4, 2))
    assert stored[np.array([8, 3])].tolist() == [[4, 5], [0, 1]]


def test_a_worker_does_not_look_for_bad_samples_again(tmp_path: Path) -> None:
    asked = replace(request("random"), options=replace(request().options, skip_bad=True))
    known = {"test/0003": "damaged"}
    comparison = prepare(asked, known)
    assert comparison.skipped == known
    assert comparison.jobs[0].info.data.skipped == known
    assert comparison.jobs[0].id != prepare(asked).jobs[0].id
