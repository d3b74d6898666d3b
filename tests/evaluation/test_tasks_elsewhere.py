"""A task is a function that can be sent: its reply has the rows that it has here."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from docs_factory import blocks
from keeprate import KeeprateError
from keeprate.engine import Reply, Task
from keeprate.errors import SampleError
from keeprate.evaluation import remote_task
from keeprate.evaluation.engines.sequential import Sequential
from keeprate.evaluation.events import Event, Note, PassAdvanced
from keeprate.evaluation.remote_task import RemoteTask
from keeprate.evaluation.runner import execute
from keeprate.plugins.registry import activate, load
from keeprate.results.store import Store
from keeprate.study.build import build_engine, prepare
from keeprate.study.comparison import Comparison
from ray_factory import BATCH, IMAGES, Received, passed, plugin, request, task_of

(SLURM,) = [block.text for block in blocks("clusters.md") if block.file_name == "slurm.py"]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Undo what a task does to a process that it is alone in."""
    threads, folder = torch.get_num_threads(), Path.cwd()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    os.chdir(folder)
    remote_task._last_comparison.clear()
    activate(load())


def sent(task: Task) -> RemoteTask:
    """The task as another process gets it."""
    found = pickle.loads(pickle.dumps(task))
    assert isinstance(found, RemoteTask)
    return found


class ByCalls(Sequential):
    """Sends every part of every task, and hands in the replies, which are sent back."""

    def run(self, tasks: Any, sink: Any) -> None:
        parts = [sent(part) for task in tasks for part in task.parts(2 * BATCH)]
        for part in parts:
            pickle.loads(pickle.dumps(part())).hand_in(sink)


@pytest.mark.slow
def test_the_replies_of_tasks_that_were_sent_have_the_rows_of_the_sequential_engine() -> None:
    asked = request("random", "tome")
    found, expected = passed(ByCalls(), asked), passed(Sequential(), asked)
    assert found.rows().equals(expected.rows())
    assert found.logits().equals(expected.logits())
    assert found.rows().height == 3 * IMAGES
    told = [event for event in found.events if isinstance(event, PassAdvanced)]
    assert sum(event.images for event in told) == 2 * IMAGES
    assert len(told[-1].values()) == 1


def test_a_process_makes_a_comparison_once_for_all_its_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Comparison] = []
    monkeypatch.setattr(
        remote_task, "prepare", lambda *asked: made.append(prepare(*asked)) or made[-1]
    )
    for part in task_of(prepare(request("random")), images=2 * BATCH).parts(BATCH):
        reply = sent(part)()
        assert reply.error is None
        assert len(reply.row_batches) == 1
    assert len(made) == 1


def test_a_task_takes_along_the_logits_of_its_own_samples_and_no_others() -> None:
    comparison = prepare(request("random"))
    comparison.reference = torch.arange(IMAGES * 10.0).reshape(IMAGES, 10).numpy()
    full, random = ([job.id] for job in comparison.jobs)
    assert sent(task_of(comparison, full)).logits is None
    part = sent(task_of(comparison, random).parts(BATCH)[1])
    assert part.logits is not None
    assert part.logits.logits.tolist() == comparison.reference[BATCH : 2 * BATCH].tolist()


def test_a_task_that_was_sent_has_as_many_threads_as_here_unless_told_otherwise() -> None:
    task = task_of(prepare(request("random")), images=BATCH)
    torch.set_num_threads(2)
    assert sent(task).threads == 2
    assert sent(task.within(1, 0)).threads == 1
    reply = sent(task.within(1, 0))()
    assert torch.get_num_threads() == 1
    assert [text for _, text in reply.notes] == ["Computed on cpu (1 threads)."]


@pytest.mark.slow
def test_what_several_replies_note_is_told_once_and_kept_with_each_run(tmp_path: Path) -> None:
    class OnOneThread(ByCalls):
        def run(self, tasks: Any, sink: Any) -> None:
            torch.set_num_threads(2)
            super().run([task.within(1, 0) for task in tasks], sink)

    told: list[Event] = []
    execute([request("random")], Store(tmp_path), OnOneThread(), told.append)
    said = "Computed on cpu (1 threads)."
    assert [event for event in told if isinstance(event, Note)] == [Note(said)]
    results, _ = Store(tmp_path).results()
    assert [result.environment.notes for result in results] == [(said,), (said,)]


def test_a_task_that_another_machine_cannot_make_again_is_not_pickled() -> None:
    comparison = prepare(request("random"))
    task = task_of(comparison)
    with pytest.raises(KeeprateError, match="The engine gives each worker its share of the dev"):
        pickle.dumps(replace(task, loop=replace(task.loop, devices=2)))
    comparison.unknown_code = ["Runs with mine are computed anew each time: it reads a lock."]
    with pytest.raises(KeeprateError, match=r"it reads a lock\. Another machine cannot tell"):
        pickle.dumps(task)
    comparison.request = None
    with pytest.raises(KeeprateError, match="Workers make the comparison again by name, and this"):
        pickle.dumps(task)
    assert task().error is None


def test_a_task_that_is_stopped_replies_with_the_batches_it_has() -> None:
    task = task_of(prepare(request("random")))
    assert task(lambda: True) == Reply()
    answers = iter([False, False, True])
    reply = task(lambda: next(answers))
    rows = reply.rows()
    assert rows is not None
    assert rows["place"].unique().sort().to_list() == list(range(2 * BATCH))


def test_a_mistake_is_in_the_reply_and_raised_after_its_rows(tmp_path: Path) -> None:
    with plugin(tmp_path) as path:
        part = sent(task_of(prepare(request("fragile")), images=BATCH))
        path.write_text(path.read_text().replace("400", "401"))
        reply = part()
    said = (
        f"On machine '{os.uname().nodename}': the runs are not those that were asked for, as this "
        "machine differs in the code of its plugins: make all machines the same."
    )
    assert str(reply.error) == said
    good, received = task_of(prepare(request("random")), images=BATCH)(), Received()
    good.error = reply.error
    with pytest.raises(KeeprateError, match="differs in the code of its plugins"):
        good.hand_in(received.sink())
    assert received.rows().height == 2 * BATCH


def test_a_sample_that_cannot_be_read_is_named_without_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise SampleError("Sample 'a' cannot be read.")

    monkeypatch.setattr("keeprate.evaluation.tasks.run_pass", fail)
    reply = task_of(prepare(request("random")))()
    assert isinstance(reply.error, SampleError)
    assert str(reply.error) == "Sample 'a' cannot be read."


def test_the_engine_for_slurm_imports_the_interface_of_engines_alone() -> None:
    tree = ast.walk(ast.parse(SLURM))
    modules = {node.module for node in tree if isinstance(node, ast.ImportFrom)}
    ours = {(name or "") for name in modules if (name or "").startswith("keeprate")}
    assert ours == {"keeprate", "keeprate.engine"}
    assert "from keeprate import hookimpl\n" in SLURM
    assert "import keeprate" not in SLURM


@pytest.fixture
def slurm(tmp_path: Path) -> Path:
    """The plugin of the page, loaded in a folder of its own."""
    path = tmp_path / "slurm.py"
    path.write_text(SLURM, encoding="utf-8")
    activate(load([path], strict=True, environ={"KEEPRATE_PLUGINS": ""}))
    return path


class InThisProcess:
    """Stands in for `subprocess.Popen`: runs the Python of a job at once."""

    def __init__(self, command: list[str]) -> None:
        import shlex

        assert command[:2] == ["sbatch", "--wait"]
        _, _, code, *arguments = shlex.split(command[-1])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["-c", *arguments])
            exec(compile(code, "job", "exec"), {})
        self.returncode = 0

    def poll(self) -> int:
        return self.returncode


@pytest.mark.system
def test_the_engine_for_slurm_gives_the_rows_of_the_sequential_engine(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", InThisProcess)
    engine = build_engine(f"slurm:folder={tmp_path / 'jobs'},images=40,cpus=1")
    asked = request("random", "tome")
    found, expected = passed(engine, asked), passed(Sequential(), asked)
    assert found.rows().equals(expected.rows())
    assert len(list(tmp_path.glob("jobs/*/*.reply"))) == 2 * 2


@pytest.mark.system
def test_jobs_of_the_engine_for_slurm_are_processes_and_one_that_dies_fails_its_runs_alone(
    slurm: Path, tmp_path: Path
) -> None:
    engine = build_engine(f"slurm:submit=sh -c,folder={tmp_path / 'jobs'},cpus=1")
    with plugin(tmp_path):
        comparison, received, expected = prepare(request("deadly", "random")), Received(), Reply()
        comparison.reference = torch.zeros(IMAGES, 10).numpy()
        deadly, random = ([job.id] for job in comparison.jobs[1:])
        tasks = [task_of(comparison, names, 2 * BATCH) for names in (deadly, random)]
        engine.run(tasks, received.sink())
        tasks[1].run_here(expected.collect())
    assert list(received.failed) == deadly
    said = "A job ended with status 9 and without a reply."
    assert received.failed[deadly[0]].error == said
    rows = expected.rows()
    assert rows is not None
    assert received.rows().equals(rows.drop("seconds").sort("run", "place"))


@pytest.mark.system
def test_jobs_of_the_engine_for_slurm_stop_when_the_study_does(slurm: Path, tmp_path: Path) -> None:
    engine = build_engine(f"slurm:submit=sh -c,folder={tmp_path / 'jobs'},cpus=1")
    received = Received()
    stopped = replace(received.sink(), stopping=lambda: True)
    engine.run([task_of(prepare(request("random")))], stopped)
    assert (received.row_batches, received.failed) == ([], {})
