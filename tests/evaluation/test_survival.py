"""Whatever happens to a study, what was finished is kept and the rest goes on from there.

Real processes, real signals, a real full disk.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keeprate.errors import KeeprateError
from keeprate.evaluation.events import Event, PassAdvanced, PassStarted
from keeprate.request import Request
from keeprate.results.records import Result
from keeprate.results.store import Store
from paths import SUPPORT
from run_factory import RUNS, request, rows_of, run, same

SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from keeprate.evaluation.events import PassAdvanced
from keeprate.evaluation.interrupts import StopSwitch
from run_factory import request, run

def listen(event):
    print(type(event).__name__, flush=True)
    if isinstance(event, PassAdvanced):
        time.sleep({rest})

stop = StopSwitch()
with stop.on_signals(lambda line: print(line, flush=True)):
    tally = run(Path({folder!r}), request({options}), listen=listen, stopping=stop)
print("finished", len(tally.finished), "left", len(tally.left), flush=True)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The rows of the study when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    run(folder)
    return rows_of(folder)


class Started:
    """A study in a process of its own, whose lines can be waited for."""

    def __init__(self, folder: Path, rest: float = 0.2, options: str = "") -> None:
        code = SCRIPT.format(tests=str(SUPPORT), folder=str(folder), rest=rest, options=options)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def after(self, batches: int) -> None:
        """Wait until this many batches are done."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            batches -= line.startswith("PassAdvanced")
            if not batches:
                return
        pytest.fail(f"ended too early: {self.process.stderr and self.process.stderr.read()}")

    def signal(self, number: int) -> None:
        """Signal every process of the study, as a terminal does."""
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[str, str]:
        """Wait for its end and return what it still said."""
        return self.process.communicate(timeout=120)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Any]:
    """Starts studies into one store and sees that none outlives the test."""
    started: list[Started] = []

    def start(**options: Any) -> Started:
        started.append(Started(tmp_path / "store", **options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.signal(signal.SIGKILL)
            each.end()


def passes(folder: Path, *requests: Request) -> list[PassStarted]:
    """Go on with a study and return the passes that this took."""
    heard: list[Event] = []
    run(folder, *requests, listen=heard.append)
    return [event for event in heard if isinstance(event, PassStarted)]


@pytest.mark.system
@pytest.mark.parametrize("workers", [0, 1])
def test_kill_9_loses_only_what_was_not_saved(
    tmp_path: Path, study: Any, undisturbed: dict[str, pl.DataFrame], workers: int
) -> None:
    killed = study(options=f"workers={workers}")
    killed.after(3)
    killed.signal(signal.SIGKILL)
    killed.end()
    store = tmp_path / "store"
    assert not list(store.glob("*.json"))
    (resumed,) = passes(store)
    assert resumed.images_before in (8, 12, 16)  # the third batch was being saved, perhaps more
    assert same(rows_of(store), undisturbed)
    assert sorted(path.name for path in store.iterdir() if path.is_dir()) == []


@pytest.mark.sample(1)
@pytest.mark.parametrize("finished", [0, 1])
def test_an_end_between_the_last_rows_and_the_results_costs_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    def killed(self: Store, result: Result, rows: pl.DataFrame) -> None:
        if len(list(self.folder.glob("*.json"))) == finished:
            raise KeyboardInterrupt
        write(self, result, rows)

    write, asked = Store.write, request(RUNS[:1], limit=8)
    store, undisturbed = tmp_path / "cut/store", tmp_path / "whole/store"
    run(undisturbed, asked)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            run(store, asked)
    assert passes(store, asked) == []
    assert len(rows_of(store)) == 2
    assert same(rows_of(store), rows_of(undisturbed))


@pytest.mark.system
def test_ctrl_c_ends_after_the_batch_and_keeps_it(
    tmp_path: Path, study: Any, undisturbed: dict[str, pl.DataFrame]
) -> None:
    stopped = study(options="checkpoint_batches=None, workers=1")
    stopped.after(3)
    stopped.signal(signal.SIGINT)
    said, wrong = stopped.end()
    assert "Stopping after this batch" in said
    assert "finished 0 left 6" in said
    assert said.count("PassAdvanced") <= 1
    assert wrong == ""
    (resumed,) = passes(tmp_path / "store")
    assert resumed.images_before in (12, 16)
    assert same(rows_of(tmp_path / "store"), undisturbed)


@pytest.mark.system
def test_a_second_ctrl_c_ends_at_once(
    tmp_path: Path, study: Any, undisturbed: dict[str, pl.DataFrame]
) -> None:
    stopped = study(rest=30)
    stopped.after(1)
    stopped.signal(signal.SIGINT)
    time.sleep(1)
    began = time.monotonic()
    stopped.signal(signal.SIGINT)
    stopped.end()
    assert time.monotonic() - began < 15
    assert stopped.process.returncode != 0
    run(tmp_path / "store")
    assert same(rows_of(tmp_path / "store"), undisturbed)


@pytest.mark.system
def test_two_processes_on_one_store(
    tmp_path: Path, study: Any, undisturbed: dict[str, pl.DataFrame]
) -> None:
    first = study(rest=1)
    first.after(1)
    with pytest.raises(KeeprateError, match=r"is being written to by process \d+"):
        run(tmp_path / "store")
    assert "finished 6 left 0" in first.end()[0]
    assert same(rows_of(tmp_path / "store"), undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB; skipped where none can be mounted."""
    position = tmp_path / "disk"
    position.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(position)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no small file system can be mounted here")
    yield position
    subprocess.run(["umount", str(position)], check=True)


@pytest.mark.system
def test_a_full_disk_ends_the_study_with_a_message_and_nothing_is_lost(
    small_disk: Path, undisturbed: dict[str, pl.DataFrame]
) -> None:
    store = small_disk / "store"
    filler = small_disk / "filler"

    def fill(event: Event) -> None:
        if isinstance(event, PassAdvanced) and not filler.exists():
            space = os.statvfs(small_disk)
            filler.write_bytes(b"\0" * (space.f_bavail * space.f_bsize - 40_000))

    with pytest.raises(KeeprateError, match=r"No space left on device\. Free some space there"):
        run(store, listen=fill)
    assert Store(store).results() == ([], [])
    assert not list(store.rglob("*.tmp"))
    filler.unlink()
    (resumed,) = passes(store)
    assert resumed.images_before > 0
    assert same(rows_of(store), undisturbed)


DISTRIBUTED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from run_factory import request, run
for options in ({{}}, {{"limit": 30}}):
    run(Path({folder!r}), request(devices=2, **options))
"""


@pytest.mark.system
def test_several_processes_of_one_study_see_each_image_once(
    tmp_path: Path, undisturbed: dict[str, pl.DataFrame]
) -> None:
    """Lightning's DDP; two comparisons after each other, as in a study."""
    store = tmp_path / "store"
    script = tmp_path / "study.py"
    script.write_text(DISTRIBUTED.format(tests=str(SUPPORT), folder=str(store)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script)], check=True, env=environment, timeout=240)
    found = rows_of(store)
    assert len(found) == 12
    exact = pl.exclude(pl.Float64)
    for name, rows in undisturbed.items():
        assert found[name].select(exact).equals(rows.select(exact))  # in other batches
    assert not (store / "partial").exists()
