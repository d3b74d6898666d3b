"""A study: runs shared, reused, failed and finished, each as if it were alone."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from torch import Tensor

from keeprate.errors import KeeprateError
from keeprate.evaluation import comparison_runner as comparing
from keeprate.evaluation.events import Event, Note, PassStarted, RunFailed, RunReused
from keeprate.evaluation.interrupts import StopSwitch
from keeprate.evaluation.progress.state import ProgressState, State
from keeprate.plugins.registry import activate, load
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.reduction.trace import ForwardTrace
from keeprate.request import DataSpec, ModelSpec, Request
from keeprate.results.listing import listed
from keeprate.results.store import Store
from keeprate.study.comparison import Comparison
from keeprate.tokens import Tokens
from run_factory import RUNS, request, rows_of, run, same

PLUGIN = '''
import torch
from keeprate import Method, hookimpl


class Weak(Method):
    """Keeps the first tokens, and fails at the image it is told."""

    name = "weak"

    def __init__(self, how: str = "", image: int = -1) -> None:
        self.how, self.image = how, image

    def reduce(self, tokens, attention, stage):
        if (tokens.image == self.image).any():
            if self.how == "raises":
                raise ZeroDivisionError("no such\\nimage")
            if self.how == "nan":
                return tokens.keep_top(tokens.size, stage.keep).with_x(
                    tokens.keep_top(tokens.size, stage.keep).x
                    * torch.where(torch.arange(stage.keep + 1) > 0, torch.nan, 1.0)[:, None]
                )
            if self.how == "shape":
                return tokens.x
            if self.how == "too many":
                return tokens
        return tokens.keep_top(tokens.size, stage.keep)


@hookimpl
def keeprate_methods():
    return [Weak]
'''


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The rows of the runs of one pass."""
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    run(folder)
    return rows_of(folder)


@pytest.fixture
def weak(tmp_path: Path) -> Iterator[None]:
    """The plugin with the method that fails."""
    file = tmp_path / "weak.py"
    file.write_text(PLUGIN)
    activate(load([file]))
    yield
    activate(load())


@pytest.mark.slow
def test_a_pass_gives_the_rows_of_separate_runs(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame]
) -> None:
    separate: dict[str, pl.DataFrame] = {}
    for number, each in enumerate(RUNS):
        folder = tmp_path / str(number) / "store"  # no store beside it to take runs from
        run(folder, request([each]))
        separate |= rows_of(folder)
    assert len(undisturbed) == len(RUNS) + 1
    assert same(separate, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("most", [2, 1, 4])
def test_the_size_of_groups_changes_nothing(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame], most: int
) -> None:
    heard: list[Event] = []
    run(tmp_path / "store", request(runs_per_pass=most), listen=heard.append)
    passes = [event.ids for event in heard if isinstance(event, PassStarted)]
    assert len(passes) == -(-6 // most)
    assert max(map(len, passes)) <= most
    assert same(rows_of(tmp_path / "store"), undisturbed)


@pytest.mark.slow
def test_finished_runs_are_reused_also_from_a_store_beside(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path / "a", request(RUNS[:2]))
    assert (len(first.finished), first.reused) == (3, [])
    heard: list[Event] = []
    second = run(tmp_path / "b", listen=heard.append)
    assert (len(second.finished), len(second.reused)) == (3, 3)
    sources = {event.source for event in heard if isinstance(event, RunReused)}
    assert sources == {str(tmp_path / "a")}
    assert same(rows_of(tmp_path / "b"), undisturbed)
    monkeypatch.setattr(comparing, "tasks_of", lambda *arguments: pytest.fail("runs again"))
    again = run(tmp_path / "b")
    assert len(again.reused) == 6


@pytest.mark.slow
def test_a_reused_run_is_described_as_it_was_asked_for(tmp_path: Path) -> None:
    run(tmp_path / "a", request([("random", {}, "keep=0.5@3")]))
    run(tmp_path / "b", request([("random", {}, "32@3")]))
    results, _ = Store(tmp_path / "b").results()
    assert {result.run.schedule for result in results} == {"", "32@3"}
    run(tmp_path / "b", request([("random", {}, "keep=0.5@3")]))
    results, _ = Store(tmp_path / "b").results()
    assert {result.run.schedule for result in results} == {"", "keep=0.5@3"}


@pytest.mark.slow
def test_force_runs_again(tmp_path: Path, undisturbed: dict[str, pl.DataFrame]) -> None:
    run(tmp_path / "store")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.parquet")}
    again = run(tmp_path / "store", request(force=True))
    assert len(again.finished) == 6
    assert all(path.stat().st_mtime_ns > before for path, before in files.items())
    assert same(rows_of(tmp_path / "store"), undisturbed)


@pytest.mark.slow
def test_the_unpruned_run_runs_again_where_its_logits_are_lost(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame]
) -> None:
    run(tmp_path / "store", request(RUNS[:1]))
    (logits,) = (tmp_path / "store").glob("*.npy")
    logits.write_bytes(b"")
    again = run(tmp_path / "store")
    assert len(again.finished) == 5
    assert same(rows_of(tmp_path / "store"), undisturbed)


FAILURES = {  # how each error begins
    "raises": "Method 'weak' at block 3: reduce raised ZeroDivisionError: no such image (",
    "nan": "Method 'weak' gave logits that are not finite (precision 32-true), the first for ",
    "shape": "Method 'weak' at block 3 returned a Tensor, not Tokens (",
    "too many": "Method 'weak' at block 3 kept 64 patch tokens where 30 were scheduled (",
}


@pytest.mark.slow
@pytest.mark.usefixtures("weak")
def test_runs_that_fail_are_marked_and_the_others_go_on(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame]
) -> None:
    samples = 24
    runs = [*RUNS]
    for position, how in enumerate(FAILURES):
        image = position * 150  # in a batch of its own, of 24 images spread over 600
        runs.append(("weak", {"how": how, "image": image}, "30@3"))
    runs.append(("weak", {}, "30@3"))
    heard: list[Event] = []
    store = Store(tmp_path / "store")
    tally = run(store.folder, request(runs, limit=samples), listen=heard.append)
    assert len(tally.failed) == len(FAILURES)
    failures, _ = store.failures()
    said = {str(failure.run.parameters["how"]): failure for failure in failures}
    assert said.keys() == FAILURES.keys()
    assert all(said[how].error.startswith(start) for how, start in FAILURES.items())
    assert "weak.py" in said["raises"].traceback
    assert sum(isinstance(event, RunFailed) for event in heard) == len(FAILURES)
    found = rows_of(store.folder)
    assert len(found) == len(RUNS) + 2
    assert all(found[name].equals(rows) for name, rows in undisturbed.items())
    assert not (store.folder / "partial").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("weak")
def test_a_failed_run_is_tried_again_and_forgotten_once_it_works(tmp_path: Path) -> None:
    wanted = request([("weak", {"how": "raises", "image": 0}, "30@3")])
    assert len(run(tmp_path / "store", wanted).failed) == 1
    file = tmp_path / "weak.py"
    file.write_text(PLUGIN.replace("== self.image", "== -2"))
    activate(load([file]))
    mended = run(tmp_path / "store", wanted)
    assert (len(mended.finished), mended.failed) == (1, [])


def test_where_the_unpruned_model_fails_all_fail_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ReducedModel.finish

    def spoilt(model: ReducedModel, tokens: Tokens, record: ForwardTrace) -> Tensor:
        return original(model, tokens, record) * (1 if model.method.reduces else torch.nan)

    monkeypatch.setattr(ReducedModel, "finish", spoilt)
    tally = run(tmp_path / "store", request(RUNS[:2], limit=4))
    assert (len(tally.failed), tally.finished) == (3, [])
    failures, _ = Store(tmp_path / "store").failures()
    why, longer = sorted({failure.error for failure in failures}, key=len)
    assert why.startswith("The unpruned model gave logits that are not finite (precision 32-true),")
    assert re.search(r" the first for sample '\S+'\.$", why)
    assert longer == f"The unpruned model, which all are compared with, failed: {why}"


def test_a_sample_that_cannot_be_read_fails_its_runs_and_not_the_next_data_set(
    tmp_path: Path, image_folders: tuple[Path, Path]
) -> None:
    broken, sound = (folder_request(folder) for folder in image_folders)
    tally = run(tmp_path / "store", broken, sound)
    assert (len(tally.finished), len(tally.failed)) == (2, 2)
    failures, _ = Store(tmp_path / "store").failures()
    assert all("Cannot read the image" in failure.error for failure in failures)


@pytest.fixture
def image_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders of images; of the first, one image turns out to be damaged when it is read."""
    from PIL import Image

    from keeprate_datasets import folders

    decode = folders.decode
    for name in ("broken", "sound"):
        for label in range(10):
            position = tmp_path / name / f"class{label}"
            position.mkdir(parents=True)
            Image.new("RGB", (40, 40), (20 * label, 0, 0)).save(position / "image.png")

    def failing(path: Path) -> Tensor:
        if path.parts[-3:-1] == ("broken", "class7"):
            raise KeeprateError(f"Cannot read the image '{path}': it is damaged.")
        return decode(path)

    monkeypatch.setattr(folders, "decode", failing)
    return tmp_path / "broken", tmp_path / "sound"


def folder_request(folder: Path) -> Request:
    import timm
    from safetensors.torch import save_file

    weights = folder.parent / "tiny.safetensors"
    if not weights.exists():
        torch.manual_seed(0)
        model = timm.create_model("test_vit", num_classes=10)
        save_file(model.state_dict(), weights)
    data = DataSpec("image-folder", {"root": str(folder)})
    wanted = request([("random", {}, "keep=0.5@2")], limit=10)
    return replace(wanted, model=ModelSpec("test_vit", weights), data=data)


def test_one_of_several_comparisons_that_cannot_be_prepared_is_left_out(tmp_path: Path) -> None:
    lost = replace(request(RUNS[:1]), data=DataSpec("imagenet", {"root": str(tmp_path / "no")}))
    heard: list[Event] = []
    tally = run(tmp_path / "store", lost, request(RUNS[:1], limit=4), listen=heard.append)
    assert len(tally.finished) == 2
    assert tally.problems == [event.text[10:] for event in heard if isinstance(event, Note)][:1]
    assert_told_what_they_ran_on(tmp_path / "store")
    with pytest.raises(KeeprateError):
        run(tmp_path / "other", lost)


def assert_told_what_they_ran_on(store: Path) -> None:
    paths = list(store.glob("*.json"))
    assert len(paths) == 2
    for path in paths:
        environment = json.loads(path.read_text())["environment"]
        assert environment["batch_size"] == 4
        assert environment["notes"] == []


@pytest.mark.slow
def test_a_stopped_study_goes_on_where_it_was(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame]
) -> None:
    calls = iter(range(1000))
    stopped = run(tmp_path / "store", stopping=lambda: next(calls) > 3)
    assert (stopped.finished, len(stopped.left)) == ([], 6)
    assert not list((tmp_path / "store").glob("*.json"))
    heard: list[Event] = []
    resumed = run(tmp_path / "store", listen=heard.append)
    assert len(resumed.finished) == 6
    (begun,) = [event for event in heard if isinstance(event, PassStarted)]
    assert 0 < begun.images < 24
    assert begun.images + begun.images_before == 24
    assert same(rows_of(tmp_path / "store"), undisturbed)
    assert not (tmp_path / "store" / "partial").exists()


@pytest.mark.slow
def test_runs_added_to_a_stopped_study_begin_from_the_start(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame]
) -> None:
    calls = iter(range(1000))
    run(tmp_path / "store", request(RUNS[:3]), stopping=lambda: next(calls) > 3)
    heard: list[Event] = []
    run(tmp_path / "store", listen=heard.append)
    passes = [event for event in heard if isinstance(event, PassStarted)]
    assert [len(event.ids) for event in passes] == [4, 2]
    assert same(rows_of(tmp_path / "store"), undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_the_preparation_of_a_comparison(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(wanted: Request) -> Comparison:
        signal.raise_signal(number)
        raise AssertionError("the preparation went on")

    monkeypatch.setattr("keeprate.evaluation.runner.prepare", endless)
    for requests in ([request()], [request(), request(RUNS[:1])]):
        heard: list[str] = []
        stop = StopSwitch()
        with stop.on_signals(heard.append):
            outcome = run(tmp_path / "store", *requests, stopping=stop)
        assert outcome.runs_left == sum(len(each.runs) + 1 for each in requests)
        assert heard == []


def test_runs_that_a_stopped_study_left_are_listed_by_name(tmp_path: Path) -> None:
    calls, asked = iter(range(1000)), request(RUNS[:1], limit=12)
    outcome = run(tmp_path, asked, stopping=lambda: next(calls) > 3)
    runs, problems = listed(Store(tmp_path))
    assert problems == []
    assert sorted(each.id for each in runs) == sorted(outcome.left)
    assert {(each.state, each.label) for each in runs} == {
        ("partial", "full"),
        ("partial", "random keep=0.7@3,6"),
    }
    assert all(0 < each.images < 12 and each.model and each.data == "digits" for each in runs)
    run(tmp_path, asked)
    assert not (tmp_path / "partial").exists()


def test_a_stopped_study_and_its_progress_count_the_same(tmp_path: Path) -> None:
    """Stopped after each number of questions, by the events and by the outcome."""
    for most in (0, 3):
        calls, state = iter(range(1000)), ProgressState(lambda: 0.0)
        outcome = run(
            tmp_path / str(most),
            request(RUNS[:1], limit=4),
            request(RUNS[:1], limit=6),
            listen=state,
            stopping=lambda calls=calls, most=most: next(calls) >= most,
        )
        counts = state.counts()
        # two comparisons of the unpruned model and one method, whether or not they began
        assert counts[State.LEFT] == outcome.runs_left == 4 - len(outcome.finished)
        assert state.not_begun == outcome.not_begun
        assert counts[State.DONE] == len(outcome.finished)
