"""Runs on corrupted digits: told apart, named, asked for again, and compared with clean ones."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from keeprate.analysis.rerun import request_of
from keeprate.analysis.runs import gather
from keeprate.analysis.sections.commands import command_of
from keeprate.analysis.statistics import paired_bootstrap
from keeprate.data.named import build_data
from keeprate.request import DataSpec
from keeprate.results.records import Result
from keeprate.results.store import Store
from keeprate.visualization.restored_runs import RunFiles, restore_runs
from paths import ROOT
from run_factory import request, run

RUNS = (("random", {}, "keep=0.5@3"),)
KINDS = ("gaussian-noise", "occlusion")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("runs") / "store"  # with no store beside it
    values: list[dict[str, Any]] = [{"data": "digits", "kind": k, "severity": 5} for k in KINDS]
    specs = [DataSpec("digits"), *(DataSpec("corrupted", each) for each in values)]
    outcome = run(folder, *(_on(spec) for spec in specs))
    assert (len(outcome.finished), outcome.failed) == (6, [])
    return Store(folder)


def _on(data: DataSpec) -> Any:
    return replace(request(RUNS, limit=8, batch_size=8), data=data)


@pytest.fixture(scope="module")
def robustness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("robustness", ROOT / "benchmarks/robustness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def by_kind(store: Store) -> Mapping[object, list[Result]]:
    results, problems = store.results()
    assert problems == []
    kinds = {result.run.data.parameters.get("kind") for result in results}
    return {
        kind: [each for each in results if each.run.data.parameters.get("kind") == kind]
        for kind in kinds
    }


def test_runs_are_told_apart_and_named_by_what_was_corrupted_how(store: Store) -> None:
    found = by_kind(store)
    assert {kind: len(results) for kind, results in found.items()} == {
        None: 2,
        **dict.fromkeys(KINDS, 2),
    }
    for kind in KINDS:
        data = found[kind][0].run.data
        assert data.title == f"corrupted (digits, {kind} 5)"
        assert data.parameters == {"data": "digits", "kind": kind, "severity": 5}
    titles = [group.title for group in gather(store).groups]
    assert titles == [
        "digits classifier on corrupted (digits, gaussian-noise 5), 8 images, 32-true",
        "digits classifier on corrupted (digits, occlusion 5), 8 images, 32-true",
        "digits classifier on digits, 8 images, 32-true",
    ]


def test_the_command_of_a_run_asks_for_the_same_images(store: Store) -> None:
    for kind in KINDS:
        result = by_kind(store)[kind][0]
        asked = build_data(request_of(result.run).data)
        assert asked.fingerprint() == result.run.data.fingerprint
        said = command_of(result.run, result.environment)
        assert f"--data corrupted:data=digits,kind={kind},severity=5 " in said


@pytest.mark.slow
def test_pictures_restore_the_corrupted_images(store: Store) -> None:
    run_info = by_kind(store)["occlusion"][0].run
    restored = restore_runs([run_info], RunFiles())
    assert restored.changes == ()
    assert restored.source.data.title == "corrupted (digits, occlusion 5)"


def test_what_is_lost_beyond_the_unpruned_model_is_paired_by_image(
    store: Store, robustness: ModuleType
) -> None:
    rows = robustness.corruptions(store)
    assert [row.title for row in rows] == [
        "none (clean)",
        "gaussian-noise 5",
        "occlusion 5",
        "all kinds",
    ]
    found = by_kind(store)

    def right(kind: str | None, method: str) -> Any:
        (result,) = (each for each in found[kind] if each.run.method == method)
        ordered = store.rows(result.id).sort("sample")
        return ordered["correct"].to_numpy().astype(float)

    label = "random keep=0.5@3"
    beyond = [
        (right(None, "random") - right(kind, "random"))
        - (right(None, "full") - right(kind, "full"))
        for kind in KINDS
    ]
    for row, expected in zip(rows[1:], [*beyond, np.mean(beyond, axis=0)], strict=True):
        assert row.extra[label].value == pytest.approx(expected.mean())
        assert row.extra[label].low <= expected.mean() <= row.extra[label].high
    assert rows[2].unpruned == right("occlusion", "full").mean()
    clean = paired_bootstrap(right(None, "full"), right(None, "random"), limit=1)
    assert rows[0].extra[label] == clean
    table = robustness.table(rows)
    assert table.count("\n") == 5
    assert f"| occlusion 5 | {100 * rows[2].unpruned:.1f} | " in table
    drawn = robustness.chart(rows).to_dict()
    assert drawn["facet"]["column"]["sort"] == ["random keep=0.5@3"]


def test_runs_on_other_images_are_not_taken_for_the_clean_ones(
    store: Store, robustness: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "corrupted_fingerprint", lambda *_: "another")
    with pytest.raises(SystemExit, match="has no runs on the same images corrupted"):
        robustness.corruptions(store)
