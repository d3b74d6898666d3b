"""A store that an earlier version wrote is read, reported and gone on with as it was then.

`data/store_format_2` was made by keeprate 0.1.0: study.yaml, a run of it with its speed, one that
was interrupted after 16 images, other_size.yaml, and `breaks`, which fails. `expected.json` is what
that version said of it. None of its files may be changed, the code in breaks.py included.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

from keeprate import Method
from keeprate.analysis.build import findings_of
from keeprate.analysis.run_table import records
from keeprate.backbones.loading.loaded import LoadedModel, weights_sha256
from keeprate.cli import keeprate
from keeprate.evaluation.events import Event, PassStarted
from keeprate.plugins import registry as plugins
from keeprate.plugins.parameters import values_of
from keeprate.plugins.registry import load
from keeprate.request import Cost, DataSpec, ModelSpec, Options, Request, RunSpec
from keeprate.results import Store
from keeprate.results.manage import images_done
from keeprate.results.picture_index import FOLDER as PICTURES
from keeprate.results.picture_index import picture_path, read_index
from keeprate.results.records import RunInfo
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin
from keeprate.study import read_study
from keeprate.study.build import prepare
from paths import TESTS
from run_factory import run

OLD = TESTS / "data" / "store_format_2"
EXPECTED: dict[str, Any] = json.loads((OLD / "expected.json").read_text())
STUDIES = {
    "budgets, parameters and seeds": ("study.yaml", "data=digits"),
    "a schedule, with its speed": (
        "study.yaml",
        "data=digits",
        "methods=tome",
        "budgets=",
        "schedules=r=4",
        "seeds=",
        "throughput=true",
    ),
    "another model and size": ("other_size.yaml",),
}
UNFINISHED = (
    "study.yaml",
    "data=digits",
    "methods=attention-score",
    "budgets=",
    "schedules=keep=0.3@1",
    "seeds=",
    "checkpoint_batches=1",
)
PERCENTILES = ("p5", "median", "p95")
NEW_IN_POINTS = (
    "budget",
    "schedule",
    "images",
    "macs_model",
    "macs_overhead",
    "difference",
    "p_value",
    "throughput_interval",
    "spread",
)

same_libraries = pytest.mark.skipif(
    any(version(name) != EXPECTED["versions"][name] for name in ("timm", "torch")),
    reason="another timm or torch builds other models, whose runs are others",
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of the old store, in the working directory, beside its studies and weights."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    model = timm.create_model("test_vit", img_size=(64, 48), num_classes=10)
    save_file(plain_weights(model), "weights.safetensors")
    return Store(Path("store"))


def plain_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights that are the same everywhere: multiples of 1/64, by the place in their tensor."""
    return {
        name: ((torch.arange(each.numel()) * 7 % 13 - 6) / 64).reshape(each.shape)
        for name, each in model.state_dict().items()
    }


@pytest.fixture
def sources_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods and data sets count as written as they were: their code may have changed since.

    So do their parameters: those that some have had since do by default what was done then.
    """
    then: dict[str, str] = EXPECTED["sources"]

    def of_then(cls: type) -> str:
        return then.get(getattr(cls, "name", ""), "")

    monkeypatch.setattr("keeprate.study.describe.source_sha256", of_then)
    monkeypatch.setattr("keeprate.plugins.nested_data.source_sha256", of_then)

    skipping = {"on_drop", "back"}
    since = {"random": {"place"} | skipping, "attention-score": skipping}
    since["class-attention"] = skipping

    def values_of_then(method: Method) -> dict[str, Any]:
        newer = since.get(method.name, set())
        return {name: value for name, value in values_of(method).items() if name not in newer}

    monkeypatch.setattr("keeprate.study.describe.values_of", values_of_then)


@pytest.fixture
def broken_plugin(store: Store) -> Iterator[None]:
    """The plugin that failed is loaded."""
    before = list(plugins._active)
    plugins.activate(load([Path("breaks.py")], strict=True, environ={"KEEPRATE_PLUGINS": ""}))
    yield
    plugins._active[:] = before


def command(*arguments: str) -> str:
    done = CliRunner().invoke(keeprate, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def figures_of(store: Store) -> dict[str, object]:
    """What is stored as come out of every finished run, by id."""
    results, problems = store.results()
    assert problems == []
    figures = {each.id: json.loads(each.measured.model_dump_json()) for each in results}
    assert not any(fields.pop("metric_sources") for fields in figures.values())
    timed = [fields["throughput"] for fields in figures.values() if fields["throughput"]]
    assert not any(speed.pop("ratios") for speed in timed)  # of each round, which were not kept
    # then each metric was a field
    return {name: fields | fields.pop("metrics") for name, fields in figures.items()}


def lines_of(store: Store) -> list[dict[str, object]]:
    lines = records(findings_of(store).groups)
    # all images cost the same, and what says how they spread was not there
    assert not any(line.pop(f"share_{name}_percent") for line in lines for name in PERCENTILES)
    return lines


def reported(store: Store, output: Path) -> dict[str, object]:
    """What the report `findings` says of points and failures; its sentences are left out."""
    command("report", str(store.folder), "--report", "findings", "--output", str(output))
    found = json.loads((output / "findings.report.json").read_text())
    failures = [
        {key: each[key] for key in ("run_id", "label", "error")} for each in found["failures"]
    ]
    keys = ("title", "model", "model_class", "image_size", "data", "images", "points")
    groups = [{key: group[key] for key in keys} for group in found["groups"]]
    for point in (point for group in groups for point in group["points"]):
        # the names of then
        for name in NEW_IN_POINTS:
            point.pop(name)
        figures = point.pop("metrics")
        point["accuracy"] = point.pop("score")
        point["agreement_percent"], point["kl_nats"] = figures["agreement"], figures["kl"]
    # the weights of this store are random ones, of which reports say so since
    problems = [line for line in found["problems"] if "no better than guessing" not in line]
    return {"failures": failures, "problems": problems, "groups": groups}


def listed(store: Store) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(
        command("runs", "list", str(store.folder), "--json")
    )
    return found


def alike(expected: object) -> Any:
    """Equal, numbers but for what another order of additions makes of them."""
    if isinstance(expected, dict):
        return {key: alike(value) for key, value in expected.items()}
    if isinstance(expected, list):
        return [alike(each) for each in expected]
    return pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected


def test_every_run_is_read(store: Store) -> None:
    assert figures_of(store) == EXPECTED["measured"]


def test_the_rows_are_read_and_say_what_the_figures_say(store: Store) -> None:
    for result in store.results()[0]:
        rows, measured = store.rows(result.id), result.measured
        assert rows.height == measured.images == 48
        assert rows["correct"].mean() == measured.metrics["top1"]
        assert rows["correct_top5"].mean() == measured.metrics["top5"]
        assert rows["agrees"].mean() == measured.metrics["agreement"]
        assert rows["kl"].mean() == pytest.approx(measured.metrics["kl"], abs=1e-12)
        if not result.run.reduces:
            assert store.read_logits(result.id, rows["sample"].to_list()).shape == (48, 10)


def test_the_table_is_as_it_was(store: Store) -> None:
    found = json.loads(json.dumps(lines_of(store)))
    assert found == alike(EXPECTED["lines"])


def test_the_report_is_as_it_was(store: Store, tmp_path: Path) -> None:
    assert reported(store, tmp_path / "out") == alike(EXPECTED["findings"])


def test_the_runs_are_listed_as_they_were(store: Store) -> None:
    assert listed(store) == EXPECTED["listed"]


def test_what_failed_and_what_was_begun_is_read(store: Store) -> None:
    (failure,), problems = store.failures()
    assert problems == []
    assert failure.id == failure.run.id == "breaks-cb3079908133"
    assert failure.traceback.startswith("Traceback (most recent call last):")
    assert images_done(store) == {"attention-score-1cc974cc104e": 16}


def test_the_pictures_are_read(store: Store) -> None:
    index, problems = read_index(store.folder / PICTURES)
    assert problems == []
    group = index.of_group([result.id for result in store.results()[0]])
    assert group is not None
    assert [sample.id for sample in group.samples] == ["test/1662"]
    assert all(picture_path(store.folder, name).is_file() for name in index.files())


@pytest.mark.sample(1)
@same_libraries
@pytest.mark.usefixtures("sources_of_then")
@pytest.mark.parametrize("study", STUDIES)
def test_the_same_study_asks_for_the_runs_that_are_there(store: Store, study: str) -> None:
    tally = run(store.folder, *read_study(*split(STUDIES[study])).requests)
    assert tally.finished == tally.failed == tally.left == tally.problems == []
    assert sorted(tally.reused) == EXPECTED["reused"][study]


def split(study: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The file of a study, and what is changed in it."""
    return study[0], study[1:]


@same_libraries
@pytest.mark.usefixtures("sources_of_then")
def test_an_unfinished_run_goes_on_where_it_was(store: Store) -> None:
    events: list[Event] = []
    tally = run(store.folder, *read_study(*split(UNFINISHED)).requests, listen=events.append)
    assert tally.finished == ["attention-score-1cc974cc104e"]
    (begun,) = [event for event in events if isinstance(event, PassStarted)]
    assert (begun.images_before, begun.images) == (16, 32)
    assert store.rows("attention-score-1cc974cc104e").height == 48


def described(request: Request) -> list[RunInfo]:
    return [job.info for job in prepare(request).jobs]


@same_libraries
@pytest.mark.usefixtures("broken_plugin")
def test_the_code_of_a_plugin_has_the_hash_it_had(store: Store) -> None:
    """By which the run that failed is known again."""
    (failure,), _ = store.failures()
    broken = RunSpec("breaks", cost=Cost("keep=0.5@3"))
    _, now = described(Request(ModelSpec(), DataSpec("digits"), (broken,), Options(limit=48)))
    assert now.sources["method"] == failure.run.sources["method"]
    assert now.model_copy(update={"sources": failure.run.sources}).id == failure.id


def lvvit() -> dict[str, object]:
    """How the unpruned run of a tiny LV-ViT describes its model."""
    sizes = {"img_size": 32, "depth": 2, "embed_dim": 32, "num_heads": 2, "num_classes": 10}
    assert plugins.registry().backbones, "which teaches timm the name"
    model = timm.create_model("lvvit_t", **sizes).eval()
    model.load_state_dict(plain_weights(model))
    built = LoadedModel(model, "lvvit_t", WeightsOrigin(WeightsKind.GIVEN), weights_sha256(model))
    (found,) = described(Request(ModelSpec(built=built), DataSpec("digits"), (), Options(limit=1)))
    assert set(found.sources) <= {"method", "data set"}, "keeprate's own models bring no code"
    return found.backbone.model_dump(mode="json")


@same_libraries
def test_a_model_of_ours_is_described_as_it_was() -> None:
    """Its class and structure name modules: moving them must not make other runs."""
    assert lvvit() == EXPECTED["lvvit"]
