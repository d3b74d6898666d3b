"""Which runs are set against each other, and what the findings say of where they disagree."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import polars as pl
import pytest

from disagreement_factory import put_run, texts_store
from keeprate.analysis.build import findings, findings_of
from keeprate.analysis.disagreement import Disagreement
from keeprate.analysis.model import ReportOptions
from keeprate.analysis.run_selection import MOST_RUNS, choose, named
from keeprate.analysis.runs import RunGroup, gather
from keeprate.analysis.sections.disagreement import disputed
from keeprate.analysis.series import SeriesTable, arrange
from keeprate.results.picture_index import INDEX, PictureIndex, read_index, write_index
from keeprate.results.store import Store
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin
from results_factory import make_backbone, make_result, make_rows, make_run

FULL = ("full", 64, 0)


def filled(folder: Path, *runs: tuple[str, int, int]) -> Store:
    """Made-up runs: method, tokens kept, luck; the budget is what is kept of 64, in per cent."""
    store = Store(folder)
    for method, keep, luck in (FULL, *runs):
        budget = f"{round(100 * keep / 64)}%" if keep < 64 else None
        put_run(store, method, keep, luck, budget=budget)
    return store


def only_group(store: Store) -> tuple[RunGroup, SeriesTable]:
    [group] = gather(store).groups
    return group, arrange(group, [])


def series(store: Store, count: int, methods: int = 1, keep: int = 32) -> None:
    """As many series at one budget, dealt to so many methods."""
    for number in range(count):
        parameters = {"variant": number // methods}
        name = f"method{number % methods}"
        put_run(store, name, keep, number, budget="50%", parameters=parameters)


def test_the_budget_with_most_methods_is_taken_the_cheapest_of_equal_ones(tmp_path: Path) -> None:
    store = filled(tmp_path, ("tome", 32, 1), ("random", 32, 2), ("tome", 48, 1), ("random", 48, 2))
    chosen = choose(only_group(store)[1])
    assert chosen is not None
    assert (chosen.budget, list(chosen.runs)) == ("50%", ["random", "tome"])
    assert chosen.text == "All 2 series at 50%, one run of each."
    put_run(store, "third", 48, 3, budget="75%")
    chosen = choose(only_group(store)[1])
    assert chosen is not None
    assert (chosen.budget, list(chosen.runs)) == ("75%", ["random", "third", "tome"])


def test_of_many_series_the_most_accurate_of_each_method_is_taken(tmp_path: Path) -> None:
    store = filled(tmp_path)
    series(store, 9, methods=3)
    group, arranged = only_group(store)
    chosen = choose(arranged)
    assert chosen is not None
    assert [each.run.method for each in chosen.runs.values()] == ["method0", "method1", "method2"]
    for judged in chosen.runs.values():
        rivals = [each for each in group.runs if each.run.method == judged.run.method]
        assert judged.right == max(each.right for each in rivals)
    assert chosen.text.startswith("3 of 9 series at 50%, one run of each: the best, ")
    assert chosen.text.endswith(" variant=2.")


def test_of_many_series_of_one_method_the_most_accurate_are_taken(tmp_path: Path) -> None:
    store = filled(tmp_path)
    series(store, 12)
    group, arranged = only_group(store)
    chosen = choose(arranged)
    assert chosen is not None
    rights = sorted((each.right for each in group.runs if each.run.reduces), reverse=True)
    found = sorted((each.right for each in chosen.runs.values()), reverse=True)
    assert found == rights[:MOST_RUNS]


def test_of_several_seeds_the_lowest_is_taken(tmp_path: Path) -> None:
    store = filled(tmp_path, ("tome", 32, 5))
    for seed in (3, 1, 2):
        put_run(store, "random", 32, seed, budget="50%", seed=seed, parameters={"seed": seed})
    chosen = choose(only_group(store)[1])
    assert chosen is not None
    assert chosen.runs["random"].run.seed == 1


def test_methods_and_a_budget_can_be_asked_for(tmp_path: Path) -> None:
    runs = [(name, keep, 1) for name in ("tome", "random", "third") for keep in (32, 48)]
    _, arranged = only_group(filled(tmp_path, *runs))
    chosen = choose(arranged, ("tome", "third"), "75%")
    assert chosen is not None
    assert (chosen.budget, list(chosen.runs)) == ("75%", ["third", "tome"])
    assert choose(arranged, ("tome",)) is None
    assert choose(arranged, (), "10%") is None


def test_without_two_series_at_one_cost_there_is_nothing_to_compare(tmp_path: Path) -> None:
    store = filled(tmp_path, ("tome", 32, 1), ("random", 48, 2))
    assert choose(only_group(store)[1]) is None
    assert findings_of(store).groups[0].disagreement is None


def test_runs_that_are_named_have_labels_that_tell_them_apart(tmp_path: Path) -> None:
    store = filled(tmp_path, ("tome", 32, 1), ("tome", 48, 2), ("random", 32, 3))
    group, _ = only_group(store)
    ids = {(each.run.method, each.run.budget): each.id for each in group.runs}
    chosen = named(group, [ids["random", "50%"], ids["tome", "50%"]])
    assert list(chosen.runs) == ["random", "tome"]
    assert chosen.text == "2 runs at 50%, named when the pictures were drawn."
    chosen = named(group, [ids["tome", "75%"], ids["tome", "50%"]])
    assert sorted(chosen.runs) == ["tome 50%", "tome 75%"]
    assert chosen.text == "2 runs, named when the pictures were drawn."


def test_the_samples_are_those_a_slow_count_finds(tmp_path: Path) -> None:
    store = filled(tmp_path, ("tome", 32, 1), ("random", 32, 2), ("third", 32, 3))
    group, arranged = only_group(store)
    chosen = choose(arranged)
    assert chosen is not None
    rows = [store.rows(run_id).sort("sample") for run_id in chosen.ids]
    expected = []
    for place, sample in enumerate(rows[0]["sample"]):
        guesses = [each["prediction"][place] for each in rows]
        pairs = [one != other for one, other in combinations(guesses, 2)]
        divergences = [each["kl"][place] for each in rows]
        spread = max(divergences) - min(divergences)
        expected.append((-sum(pairs) / len(pairs), -spread, sample, guesses))
    expected.sort()
    found = disputed(store, group, chosen, 10)
    assert [each.sample for each in found.samples] == [each[2] for each in expected[:10]]
    assert found.differing == sum(each[0] < 0 for each in expected)
    plain = store.rows("full-" + _id(group, "full")).sort("sample")
    for each, (share, spread, sample, guesses) in zip(found.samples, expected, strict=False):
        place = rows[0]["sample"].to_list().index(sample)
        assert each.different_percent == pytest.approx(-100 * share)
        assert each.kl_spread_nats == pytest.approx(-spread)
        assert [guess.prediction for guess in each.guesses] == guesses
        assert [guess.right for guess in each.guesses] == [r["correct"][place] for r in rows]
        assert each.unpruned is not None
        assert each.unpruned.prediction == plain["prediction"][place]


def test_a_prediction_is_right_where_top_1_says_so(tmp_path: Path) -> None:
    """Of several right classes, `label` is the lowest alone."""
    store = filled(tmp_path)
    for method, luck in (("tome", 1), ("random", 2)):
        run = make_run(method, 32, budget="50%")
        rows = make_rows(run, 0.5, luck).with_columns(
            label=pl.lit(0, pl.Int64), correct=pl.lit(True)
        )
        store.write(make_result(run, rows), rows)
    guesses = [guess for sample in of(store).samples for guess in sample.guesses]
    assert {guess.prediction for guess in guesses} != {0}
    assert all(guess.right for guess in guesses)


def _id(group: RunGroup, method: str) -> str:
    [found] = [each.id for each in group.runs if each.run.method == method]
    return found.partition("-")[2]


def of(store: Store) -> Disagreement:
    found = findings_of(store).groups[0].disagreement
    assert found is not None
    return found


def test_findings_have_the_samples_without_any_picture(tmp_path: Path) -> None:
    store = filled(tmp_path, ("tome", 32, 1), ("random", 32, 2))
    found = of(store)
    assert (len(found.samples), found.images) == (8, 200)
    assert {each.picture for each in found.samples} == {""}
    assert found.command == f"keeprate show --disagreeing {store.folder}"
    assert findings_of(store).problems == ()


def test_rows_that_went_missing_are_a_problem_and_no_end(tmp_path: Path) -> None:
    store = filled(tmp_path, ("tome", 32, 1), ("random", 32, 2))
    evidence = gather(store)
    [gone] = tmp_path.glob("tome-*.parquet")
    gone.unlink()
    found = findings(evidence, ReportOptions())
    assert found.groups[0].disagreement is None
    assert [line for line in found.problems if line.startswith(f"{gone}: ")]


def test_texts_have_samples_and_no_command(tmp_path: Path) -> None:
    found = of(texts_store(tmp_path))
    assert (found.command, len(found.samples)) == ("", 8)


def test_the_command_names_weights_and_plugins(tmp_path: Path) -> None:
    store = Store(tmp_path / "my runs")
    weights = {
        "name": "deit_tiny",
        "weights": WeightsOrigin(WeightsKind.FILE, "deit tiny.safetensors"),
    }
    backbone = make_backbone().model_copy(update=weights)
    for method in ("one", "other"):
        put_run(store, method, 32, 1, backbone=backbone, method_origin="mine.py", budget="50%")
    assert of(store).command == (
        f"keeprate --plugin mine.py show --disagreeing '{store.folder}' "
        "--weights 'deit tiny.safetensors'"
    )
    hub = Store(tmp_path / "hub")
    for method in ("one", "other"):
        put_run(hub, method, 32, 1, backbone=make_backbone("hf:a/b"), budget="50%")
    assert of(hub).command == f"keeprate show --disagreeing {hub.folder} --model hf:a/b"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"version": 2, "groups": []}', "has version 2, this keeprate reads 1"),
        ("[]", "has version None, this keeprate reads 1"),
        ('{"version": 1, "groups": [{}]}', "groups.0.title: Field required"),
        ("{", "EOF while parsing an object at line 1 column 1"),
    ],
)
def test_an_index_that_cannot_be_read_is_named(tmp_path: Path, content: str, said: str) -> None:
    store = filled(tmp_path, ("tome", 32, 1), ("random", 32, 2))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / INDEX).write_text(content)
    line = f"pictures/{INDEX}: {said}; draw the pictures again"
    assert read_index(tmp_path / "pictures") == (PictureIndex(), [line])
    assert line in findings_of(store).problems
    assert len(of(store).samples) == 8


@pytest.mark.parametrize("file", ["../secret.png", "/etc/x.png", ".hidden.png", "a/b.png", "a.jpg"])
def test_files_outside_the_folder_are_refused(tmp_path: Path, file: str) -> None:
    index = (
        '{"version": 1, "groups": [{"title": "t", "budget": "", "runs": [], "labels": [], "text": '
        '"", "samples": [{"id": "s", "label": 0, "label_name": "", "different_percent": 0, '
        '"kl_spread_nats": 0, "unpruned": {"run": "u", "prediction": 0, "name": "", "confidence": '
        f'1, "stored": null}}, "predictions": [], "file": "{file}"}}]}}]}}'
    )
    (tmp_path / INDEX).write_text(index)
    found, [problem] = read_index(tmp_path)
    assert found == PictureIndex()
    assert "groups.0.samples.0.file" in problem


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    paths = write_index(tmp_path / "pictures", PictureIndex(), {"a.png": b"1"})
    assert [path.name for path in paths] == ["a.png", INDEX]
    assert read_index(tmp_path / "pictures") == (PictureIndex(), [])
