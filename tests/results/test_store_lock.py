"""One process writes to a store; whatever happens to it, the next one can."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keeprate.errors import KeeprateError
from keeprate.results import lock as store_lock
from keeprate.results.lock import Owner, locked, owner
from keeprate.results.manage import merge, remove
from results_factory import fill, make_run, put

HOLDS = """
import sys
from pathlib import Path
from keeprate.results.lock import locked

folder, sys.argv = sys.argv[1], ["/usr/bin/keeprate", "run", "my study.yaml"]
with locked(Path(folder)):
    print("held", flush=True)
    sys.stdin.read()
"""
FORKS = HOLDS.replace(
    "    sys.stdin.read()",
    """
    import multiprocessing, time
    fork = multiprocessing.get_context("fork")
    ended = fork.Process(target=time.sleep, args=(0,))
    ended.start()
    ended.join()
    fork.Process(target=time.sleep, args=(5,)).start()
    print("born", flush=True)
    sys.stdin.read()
""",
)
TRIES = """
import sys
from pathlib import Path
from keeprate.results.lock import locked

try:
    with locked(Path(sys.argv[1])):
        print("free")
except Exception as error:
    print(error)
"""


@contextmanager
def holder(folder: Path, script: str = HOLDS) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its input ends."""
    command = [sys.executable, "-c", script, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def refused(folder: Path) -> str:
    """Why this process does not get the lock."""
    with pytest.raises(KeeprateError) as caught, locked(folder):
        pytest.fail("it does")
    return str(caught.value)


def tried(folder: Path) -> str:
    command = [sys.executable, "-c", TRIES, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_second_process_is_told_who_writes_and_since_when(tmp_path: Path) -> None:
    with holder(tmp_path / "runs") as process:
        said = refused(tmp_path / "runs")
    assert re.fullmatch(
        re.escape(f"{tmp_path}/runs is being written to by process {process.pid}")
        + re.escape(f" on {socket.gethostname()} since ")
        + r"\d\d:\d\d:\d\d "
        + re.escape("(keeprate run 'my study.yaml'): ")
        + r"wait for it, or choose another folder with --name\.",
        said,
    )


@pytest.mark.system
def test_whoever_fails_to_take_it_leaves_the_holder_in_peace(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        first, second = tried(tmp_path), tried(tmp_path)
        assert first == second
        assert f"process {process.pid}" in first


@pytest.mark.system
def test_it_is_free_when_the_holder_is_done(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.communicate("")
        assert process.returncode == 0
        assert tried(tmp_path) == "free"
    assert owner(tmp_path) is None


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_it_is_free_when_the_holder_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        assert tried(tmp_path) == "free"


@pytest.mark.system
@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_forked_children_neither_free_it_nor_keep_it(tmp_path: Path) -> None:
    with holder(tmp_path, FORKS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "born\n"
        assert "is being written to" in tried(tmp_path)
        process.kill()
        process.wait(timeout=60)
        assert tried(tmp_path) == "free"


def test_it_is_free_after_an_error(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), locked(tmp_path):
        assert owner(tmp_path) is not None
        raise ZeroDivisionError
    assert owner(tmp_path) is None
    assert tried(tmp_path) == "free"


def test_one_process_does_not_take_it_twice(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert f"process {os.getpid()} on" in refused(tmp_path)


@pytest.mark.system
def test_two_stores_are_written_at_once(tmp_path: Path) -> None:
    with holder(tmp_path / "one"), locked(tmp_path / "two"):
        assert "is being written to" in tried(tmp_path / "one")


def test_a_holder_who_left_no_word_is_another_process(tmp_path: Path) -> None:
    with holder(tmp_path):
        (tmp_path / ".lock-owner").write_text("{")
        assert f"{tmp_path} is being written to by another process: " in tried(tmp_path)


def test_a_holder_since_another_day_is_told_with_the_day() -> None:
    since = datetime(2026, 1, 2, 12, 4, 5, tzinfo=UTC)
    told = str(Owner(host="box", pid=7, since=since, command="keeprate"))
    assert told == f"process 7 on box since {since.astimezone():%Y-%m-%d %H:%M:%S} (keeprate)"


@pytest.mark.parametrize("program", ["/x/bin/keeprate", "/x/keeprate/__main__.py"])
def test_the_command_is_told_without_its_folder(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "compare"])
    with locked(tmp_path):
        found = owner(tmp_path)
    assert found is not None
    assert found.command == "keeprate compare"


def test_a_folder_that_cannot_be_written_to_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/inside"):
        assert re.fullmatch(r"Cannot write to .*/file.*: .* choose another\.", refused(folder))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_a_folder_nobody_may_write_to_is_explained() -> None:
    said = r"Cannot write to /proc/self: .*\. Choose a folder you may write to\."
    assert re.fullmatch(said, refused(Path("/proc/self")))


def test_a_full_disk_does_not_keep_anyone_from_removing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path)

    def full(contents: object) -> None:
        raise KeeprateError("No space left on device")

    monkeypatch.setattr(store_lock, "write_together", full)
    remove(store, [result.id for result in store.results()[0]])
    assert store.results() == ([], [])


@pytest.mark.sample(1)
@pytest.mark.parametrize("write", ["remove", "merge"])
def test_what_changes_a_store_waits_its_turn(write: str, tmp_path: Path) -> None:
    store, other = fill(tmp_path / "one"), fill(tmp_path / "two", {"random": (30,)})
    ids = [result.id for result in store.results()[0]]
    changes: dict[str, Callable[[], object]] = {
        "remove": lambda: remove(store, ids),
        "merge": lambda: merge(store, [other]),
    }
    with holder(store.folder):
        with pytest.raises(KeeprateError, match=r"\): wait for it\.$"):
            changes[write]()
        assert [result.id for result in store.results()[0]] == ids


def test_the_lock_is_no_run(tmp_path: Path) -> None:
    store = fill(tmp_path)
    with locked(tmp_path):
        put(store, make_run("random", 30))
        assert store.results()[1] == []
