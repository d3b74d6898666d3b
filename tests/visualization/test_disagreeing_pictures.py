"""`keeprate show --disagreeing`: the pictures show what the rows of the runs say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from disagreement_factory import digits_store, error, index_of, show, texts_store
from keeprate.analysis.build import findings_of
from keeprate.analysis.sections.disagreement_ranking import disagreements
from keeprate.analysis.write import write_reports
from keeprate.backbone import Backbone
from keeprate.cli import keeprate
from keeprate.plugins import registry as plugins
from keeprate.results.picture_index import INDEX, PictureIndex
from keeprate.results.store import Store
from keeprate.visualization.disagreement_pictures import picture_name

LARGEST = 400_000
"""Bytes of a picture: a page should hold several."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "store"
    digits_store(folder)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Finished runs in a folder "store" beside nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_active", [])
    shutil.copytree(made, "store")
    return Store(Path("store"))


def ids(store: Store) -> dict[tuple[str, str | None], str]:
    return {(each.run.method, each.run.budget): each.id for each in store.results()[0]}


def test_the_samples_runs_disagree_on_most_are_drawn(store: Store) -> None:
    done = show("store", "-n", "3")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    [group] = index_of(store.folder / "pictures").groups
    assert group.labels == ("class-attention", "random", "tome")
    assert group.budget == "40%"
    assert [each.id for each in group.samples] == disagreements(store, group.runs, 3)
    assert done.stdout.splitlines() == [
        f"{group.title}: 3 pictures.",
        "All 3 series at 40%, one run of each.",
        *(f"store/pictures/{each.file}" for each in group.samples),
        f"store/pictures/{INDEX}",
    ]
    for each in group.samples:
        path = store.folder / "pictures" / each.file
        assert path.stat().st_size < LARGEST
        with Image.open(path) as picture:
            assert picture.width == 4 * 160 + 3 * 8 + 24


@pytest.mark.slow
def test_the_index_says_what_the_rows_say(store: Store) -> None:
    assert show("store").exit_code == 0
    [group] = index_of(store.folder / "pictures").groups
    assert len(group.samples) == 8
    plain = store.rows(ids(store)["full", None])
    for sample in group.samples:
        assert [each.run for each in sample.predictions] == list(group.runs)
        for each in sample.predictions:
            row = store.rows(each.run).row(by_predicate=pl.col("sample") == sample.id, named=True)
            assert each.prediction == each.stored == row["prediction"]
            assert each.confidence == pytest.approx(row["confidence"], rel=1e-4)
            assert (sample.label, each.name) == (row["label"], str(row["prediction"]))
        [stored] = plain.filter(pl.col("sample") == sample.id)["prediction"]
        assert sample.unpruned.prediction == sample.unpruned.stored == stored


def changed(store: Store, run_id: str, sample: str, prediction: int) -> None:
    """Let the rows of a run say another prediction than what its method makes."""
    rows = store.rows(run_id)
    other = pl.when(pl.col("sample") == sample).then(prediction).otherwise(pl.col("prediction"))
    store.write(store.read(run_id), rows.with_columns(other.alias("prediction")))


@pytest.mark.slow
def test_a_picture_that_shows_another_prediction_says_so(store: Store) -> None:
    tome = ids(store)["tome", "40%"]
    [sample] = disagreements(store, [tome, ids(store)["random", "40%"]], 1)
    before = store.rows(tome).row(by_predicate=pl.col("sample") == sample, named=True)
    stored = (before["prediction"] + 1) % 10
    changed(store, tome, sample, stored)
    done = show("store", "-n", "40")
    assert done.exit_code == 0, done.output
    said = f"class {before['prediction']} in the picture, class {stored} in its rows"
    assert done.stderr == f"Warning: {sample}: {tome} predicts {said}.\n"
    found = findings_of(store).groups[0].disagreement
    assert found is not None
    told = {each.sample: each.guesses[found.labels.index("tome")] for each in found.samples}
    assert told[sample].pictured == str(before["prediction"])
    assert {each.pictured for name, each in told.items() if name != sample} == {""}
    [page] = write_reports(store.folder, ["html"]).files
    assert f"In the picture tome predicts {told[sample].pictured}, in its rows " in page.read_text()


@pytest.mark.slow
def test_runs_methods_and_a_budget_can_be_chosen(store: Store) -> None:
    known = ids(store)
    two = known["random", "40%"], known["random", "60%"]
    done = show("store", "-n", "1", "--runs", two[0], "--runs", two[1])
    assert done.exit_code == 0, done.output
    [group] = index_of(store.folder / "pictures").groups
    assert (set(group.runs), set(group.labels)) == (set(two), {"random 40%", "random 60%"})
    found = findings_of(store).groups[0].disagreement
    assert found is not None
    assert (found.run_ids, found.labels, found.text) == (group.runs, group.labels, group.text)
    done = show("store", "-n", "1", "--method", "tome", "--method", "random", "--budget", "40%")
    assert done.exit_code == 0, done.output
    [group] = index_of(store.folder / "pictures").groups
    assert group.labels == ("random", "tome")


@pytest.mark.slow
def test_drawing_again_takes_the_place_of_what_was_drawn(store: Store) -> None:
    assert show("store", "-n", "4").exit_code == 0
    first = {path.name for path in (store.folder / "pictures").iterdir()}
    assert show("store", "-n", "2").exit_code == 0
    second = {path.name for path in (store.folder / "pictures").iterdir()}
    [group] = index_of(store.folder / "pictures").groups
    assert second == {*(each.file for each in group.samples), INDEX}
    assert second < first


@pytest.mark.slow
def test_other_groups_keep_their_pictures(store: Store) -> None:
    assert show("store", "-n", "1").exit_code == 0
    folder = store.folder / "pictures"
    [mine] = index_of(folder).groups
    file = mine.samples[0].file
    kept = mine.samples[0].model_copy(update={"file": file.upper().replace("PNG", "png")})
    other = mine.model_copy(update={"title": "another model", "samples": (kept,)})
    (folder / INDEX).write_text(PictureIndex(groups=(other,)).model_dump_json())
    (folder / kept.file).write_bytes(b"kept")
    assert show("store", "-n", "1").exit_code == 0
    groups = {group.title: group for group in index_of(folder).groups}
    assert groups["another model"] == other
    assert (folder / kept.file).read_bytes() == b"kept"
    assert groups[mine.title].samples[0].file == file.replace(".png", "-2.png")


@pytest.mark.slow
def test_blocks_and_importance_are_drawn_as_of_images(store: Store) -> None:
    only = "store", "-n", "1", "--method", "class-attention", "--method", "tome"
    sizes = []
    for options in (("--blocks", "4"), ("--blocks", "4,5", "--overlay", "--output", "maps")):
        done = show(*only, *options)
        assert done.exit_code == 0, done.output
        folder = Path("maps" if "--output" in options else "store/pictures")
        [group] = index_of(folder).groups
        with Image.open(folder / group.samples[0].file) as picture:
            sizes.append(picture.size)
    assert sizes[1][0] > sizes[0][0]
    assert sizes[1][1] > 1.3 * sizes[0][1]


@pytest.mark.slow
def test_runs_without_the_last_mlp_are_made_ready_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_active", [])
    digits_store(tmp_path / "store", empty_last_mlp=True)
    done = show(tmp_path / "store", "-n", "40")
    assert (done.exit_code, done.stderr) == (0, ""), done.output


def test_names_of_files_are_plain_and_unlike_each_other() -> None:
    taken: set[str] = set()
    samples = ["val-cat", "val/Cat.JPEG", "../../x y.png", ".hidden", "", "é", "a" * 300 + ".jpg"]
    names = [picture_name(sample, taken) for sample in samples]
    assert names[:4] == ["val-cat.png", "val-Cat-2.png", "x-y.png", "hidden.png"]
    assert names[4:6] == ["sample.png", "sample-2.png"]
    assert names[6] == "a" * 100 + ".png"


def test_the_store_is_still_a_store(store: Store) -> None:
    before = store.results()
    assert show("store", "-n", "1").exit_code == 0
    assert store.results() == before
    assert findings_of(store).problems == ()
    assert json.loads((store.folder / "pictures" / INDEX).read_text())["version"] == 1


def test_mistakes_are_said_in_one_line(store: Store) -> None:
    known = ids(store)
    assert error("nowhere").startswith("No results folder 'nowhere'.")
    assert error("store", "0") == (
        "--disagreeing takes images and costs from the runs: drop IMAGE."
    )
    assert error("store", "--schedule", "r=2", "--image-size", "64") == (
        "--disagreeing takes images and costs from the runs: drop --schedule and --image-size."
    )
    assert error("store", "--runs", "tome-1", "--budget", "40%") == (
        "--runs names the runs themselves: drop --method and --budget."
    )
    assert error("store", "--runs", "tome-1").startswith("No run 'tome-1'. Known: class-att")
    assert error("store", "--method", "tom") == "No run of method 'tom'. Did you mean 'tome'?"
    remedy = "name two of one model on the same images with --runs ID --runs ID."
    assert error("store", "--budget", "60%") == f"No two runs in store to compare at 60%: {remedy}"
    assert error("store", "--runs", known["tome", "40%"]) == (
        f"No two runs in store to compare: {remedy}"
    )
    assert error("store", "--blocks", "12").endswith(
        ": --blocks names block 12, but the model's blocks are 0 to 11."
    )
    lonely = CliRunner().invoke(keeprate, ["show", "0", "--most", "3"])
    assert lonely.stderr == "Error: --most and --runs need --disagreeing FOLDER.\n"


def test_a_model_without_a_grid_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Backbone, *Backbone.__subclasses__()):
        monkeypatch.setattr(cls, "grid", lambda self, size: None)
    assert "does not tell how its patches part an image" in error("store")
    assert not (store.folder / "pictures").exists()


def test_texts_are_not_drawn_and_still_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_active", [])
    said = error(texts_store(tmp_path / "store").folder)
    assert said.endswith(": Model 'hf:reviews' reads texts: there are no patches to draw.")
    [page] = write_reports(tmp_path / "store", ["html"]).files
    assert '"samples":"texts","images":200,' in page.read_text()
