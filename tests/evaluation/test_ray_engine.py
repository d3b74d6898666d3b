"""Ray gives the rows of the sequential engine, whatever becomes of its machines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import torch

from keeprate import KeeprateError
from keeprate.engine import Engine
from keeprate.evaluation.comparison_runner import StudyOutcome
from keeprate.evaluation.engines.ray_engine import RayEngine
from keeprate.evaluation.engines.sequential import Sequential
from keeprate.evaluation.events import Event, Note, PassAdvanced
from keeprate.evaluation.runner import execute
from keeprate.request import Request
from keeprate.results.store import Store
from keeprate.study.build import prepare
from paths import SUPPORT
from ray_factory import BATCH, IMAGES, Received, ids_of, passed, plugin, request, task_of, watched

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two machines of one processor each, joined by their address."""
    from ray.cluster_utils import Cluster

    from keeprate.evaluation.engines.ray_cluster import connect, disconnect

    found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    found.add_node(**NODE)
    assert connect(found.address, None)
    yield found
    disconnect()
    found.shutdown()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute here with as many threads as a worker does: more may round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where the method `watched` leaves its marks."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def stored(folder: Path, asked: Request, engine: Engine, **options: Any) -> StudyOutcome:
    return execute([asked], Store(folder), engine, options.pop("listen", _unheard), **options)


def _unheard(event: Event) -> None:
    pass


def assert_same_rows(folder: Path, other: Path) -> None:
    results, _ = Store(folder).results()
    assert len(results) > 1
    for result in results:
        assert Store(folder).rows(result.id).equals(Store(other).rows(result.id))


@pytest.mark.system
def test_rows_are_those_of_the_sequential_engine_bit_for_bit(cluster: Cluster) -> None:
    asked = request("random", "tome", "zero-tprune", "class-attention")
    engine = RayEngine(shard_images=2 * BATCH)
    found, expected = passed(engine, asked), passed(Sequential(), asked)
    assert found.rows().height == 5 * IMAGES
    assert not found.rows().select("run", "place").is_duplicated().any()
    assert found.rows().equals(expected.rows())
    assert found.logits().equals(expected.logits())
    assert len(found.row_batches) == 4 * -(-IMAGES // (2 * BATCH))
    seen = [event.images for event in found.events if isinstance(event, PassAdvanced)]
    assert sum(seen) == 4 * IMAGES


@pytest.mark.system
def test_the_figure_so_far_is_that_of_the_rows(cluster: Cluster) -> None:
    found = passed(RayEngine(), request("random"))
    told = [event for event in found.events if isinstance(event, PassAdvanced)][-1].values()
    means = found.rows().group_by("run").agg(pl.col("correct").mean())
    assert told == pytest.approx(dict(means.iter_rows()))


@pytest.mark.system
def test_a_method_that_raises_fails_alone(cluster: Cluster, tmp_path: Path) -> None:
    with plugin(tmp_path):
        asked = request("fragile", "random")
        found, expected = passed(RayEngine(workers=1), asked), passed(Sequential(), asked)
        fragile = ids_of(prepare(asked), "fragile")
    assert tuple(found.failed) == fragile
    assert "score raised ValueError: not this one" in found.failed[fragile[0]].error
    assert "watching.py" in found.failed[fragile[0]].traceback
    kept = [each.rows().remove(run=fragile[0]) for each in (found, expected)]
    assert kept[0].equals(kept[1])


@pytest.mark.system
def test_a_run_that_ends_its_worker_again_and_again_fails(cluster: Cluster, tmp_path: Path) -> None:
    with plugin(tmp_path):
        comparison, received = prepare(request("deadly", "random")), Received()
        deadly, kept = ids_of(comparison, "deadly"), ids_of(comparison, "full", "random")
        tasks = [task_of(comparison, names, BATCH) for names in (kept, deadly)]
        comparison.reference = torch.zeros(IMAGES, 10).numpy()
        RayEngine(attempts=2).run(tasks, received.sink())
    assert tuple(received.failed) == deadly
    said = received.failed[deadly[0]].error
    assert said.startswith("Its worker was lost 2 times on the same images: WorkerCrashedError: ")
    notes = [event.text for event in received.events if isinstance(event, Note)]
    assert [note.partition(":")[0] for note in notes] == [
        f"A worker was lost, {BATCH} images for 1 run(s) are computed again"
    ]
    assert received.rows().height == 2 * BATCH


@pytest.mark.system
def test_other_plugin_code_on_a_machine_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    with plugin(tmp_path) as path:
        comparison = prepare(request("fragile"))
        path.write_text(path.read_text().replace("400", "401"))
        with pytest.raises(KeeprateError) as refused:
            RayEngine().run([task_of(comparison, images=BATCH)], Received().sink())
    assert str(refused.value) == (
        f"On machine '{os.uname().nodename}': the runs are not those that were asked for, as this "
        "machine differs in the code of its plugins: make all machines the same."
    )


@pytest.mark.system
def test_where_no_machine_is_large_enough_it_waits_for_one_and_can_be_stopped(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeprate.evaluation.engines.ray_dispatch._GRACE_SECONDS", 0.0)
    comparison, received = prepare(request("random")), Received()
    tasks = [task_of(comparison, [comparison.unpruned.id])]
    sink = replace(received.sink(), stopping=lambda: bool(received.events))
    RayEngine(cluster.address, gpus=2.0).run(tasks, sink)
    told = "No machine of the cluster has 1 processors and 2 GPUs for a worker: waiting for one."
    assert (received.events, received.row_batches) == ([Note(told)], [])
    with pytest.raises(KeeprateError, match="This machine has no 64 processors and 0 GPUs"):
        RayEngine(cpus=64.0).run(tasks, Received().sink())


@pytest.mark.system
def test_what_ray_leaves_when_stopped_another_engine_finishes(
    cluster: Cluster, tmp_path: Path
) -> None:
    asked, seen = request("random", "tome"), list[Event]()

    def stopping() -> bool:
        return sum(isinstance(event, PassAdvanced) for event in seen) >= 2

    engine = RayEngine(shard_images=BATCH)
    tally = stored(tmp_path / "both", asked, engine, listen=seen.append, stopping=stopping)
    assert len(tally.left) == 3
    rest: list[Event] = []
    assert len(stored(tmp_path / "both", asked, Sequential(), listen=rest.append).finished) == 3
    stored(tmp_path / "alone", asked, Sequential())
    assert_same_rows(tmp_path / "both", tmp_path / "alone")
    done = sum(event.images for event in seen if isinstance(event, PassAdvanced))
    left = sum(event.images for event in rest if isinstance(event, PassAdvanced))
    assert (done + left, 0 < left < IMAGES) == (IMAGES, True)


@pytest.mark.system
def test_a_worker_that_is_stopped_hands_in_the_batches_it_has(
    cluster: Cluster, tmp_path: Path, marks: Path
) -> None:
    nodes = [node.node_id for node in cluster.list_all_nodes()]
    hangs = [marks / f"hang-{node}" for node in nodes]
    for hang in hangs:
        hang.touch()
    told: list[float] = []

    def stopping() -> bool:
        if any((marks / node).exists() for node in nodes):
            told.append(time.monotonic())
        if told and time.monotonic() - told[0] > 1.5:  # a worker asks once a second
            for hang in hangs:
                hang.unlink(missing_ok=True)
        return bool(told)

    with plugin(tmp_path):
        comparison, received = prepare(request(watched(marks))), Received()
        sink = replace(received.sink(), stopping=stopping)
        RayEngine(workers=1, shard_images=IMAGES).run([task_of(comparison)], sink)
    assert received.rows()["place"].to_list() == 2 * list(range(BATCH))


@pytest.mark.system
def test_a_machine_killed_in_the_middle_changes_no_row(
    cluster: Cluster, tmp_path: Path, marks: Path
) -> None:
    doomed = cluster.worker_nodes.copy().pop()
    (marks / f"hang-{doomed.node_id}").touch()
    hung = threading.Thread(target=_kill_once_at_work, args=(cluster, doomed, marks))
    with plugin(tmp_path):
        asked, seen = request(watched(marks), "random"), list[Event]()
        hung.start()
        engine = RayEngine(shard_images=BATCH)
        tally = stored(tmp_path / "killed", asked, engine, listen=seen.append)
        hung.join()
        stored(tmp_path / "alone", asked, Sequential())
    cluster.add_node(**NODE)
    assert (len(tally.finished), tally.failed) == (3, [])
    assert_same_rows(tmp_path / "killed", tmp_path / "alone")
    notes = [event.text for event in seen if isinstance(event, Note)]
    assert any(f"A worker was lost, {BATCH} images for 3 run(s)" in note for note in notes), notes


def _kill_once_at_work(cluster: Cluster, node: Any, marks: Path) -> None:
    deadline = time.monotonic() + 60
    while not (marks / node.node_id).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)


ALONE = """
import os, signal, subprocess, sys
from pathlib import Path
import ray
from keeprate.evaluation.engines.ray_engine import RayEngine
from keeprate.evaluation.engines.sequential import Sequential
from keeprate.evaluation.events import PassAdvanced
from keeprate.evaluation.runner import execute
from keeprate.results.store import Store
from keeprate.evaluation.interrupts import StopSwitch
from ray_factory import BATCH, request

began = []
def listen(event):
    if isinstance(event, PassAdvanced) and not began:
        assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGINT)
        ours = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True)
        began.extend(ours.stdout.split())
        os.killpg(0, signal.SIGINT)

store, stop = Store(Path(sys.argv[1])), StopSwitch()
with stop.on_signals(print):
    engine = RayEngine(workers=2, shard_images=BATCH)
    tally = execute([request("random")], store, engine, listen, stop)
assert len(tally.left) == 2, tally
assert not ray.is_initialized()
left = [pid for pid in began if Path("/proc", pid, "exe").exists()]
assert began and not left, (began, left)
tally = execute([request("random")], store, Sequential(), lambda event: None)
assert len(tally.finished) == 2, tally
"""


@pytest.mark.system
def test_a_cluster_started_for_a_study_hears_no_ctrl_c_and_ends_with_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,  # Ctrl-C goes to all processes of a terminal's group
    )
    said = "Stopping after this batch; what is done is kept. Once more stops at once.\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
