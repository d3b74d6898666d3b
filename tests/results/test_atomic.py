"""Whenever a writer stops, a reader finds whole results or none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keeprate.errors import KeeprateError
from keeprate.results.atomic_files import staged, write_together
from keeprate.results.store import Store
from paths import SUPPORT
from results_factory import make_result, make_rows, make_run, put

KILLED_AT_STEP = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
from results_factory import make_run, put
from keeprate.results.store import Store

left = int(sys.argv[3])

def counted(function):
    def step(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return step

os.fsync, os.replace = counted(os.fsync), counted(os.replace)
pathlib.Path.unlink = counted(pathlib.Path.unlink)
put(Store(sys.argv[2]), make_run(keep=40), accuracy=0.5)
print("finished")
"""

WRITES_FOREVER = """
import itertools, sys
sys.path.insert(0, sys.argv[1])
from results_factory import make_run, put
from keeprate.results.store import Store

for seed in itertools.count():
    put(Store(sys.argv[2]), make_run(keep=40), accuracy=0.5, seed=seed % 7)
    print(seed, flush=True)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(SUPPORT), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".*"))


def whole(store: Store) -> bool:
    """Whether there is a result; fails if one that is only half there is read."""
    results, problems = store.results()
    assert problems == []
    for result in results:
        assert store.rows(result.id)["correct"].mean() == result.measured.metrics["top1"]
    return bool(results)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.system
@pytest.mark.parametrize("before", ["nothing", "an older result"])
def test_a_writer_killed_at_any_step_leaves_no_half_result(tmp_path: Path, before: str) -> None:
    outputs = []
    for step in range(12):
        store = Store(tmp_path / str(step))
        if before != "nothing":
            put(store, make_run(keep=40), accuracy=0.9)
        writer = start(KILLED_AT_STEP, str(store.folder), str(step))
        outputs.append(writer.communicate(timeout=60)[0])
        complete = whole(store)
        if outputs[-1]:
            assert complete
            break
        put(store, make_run(keep=40))
        assert whole(store)
        assert leftovers(store.folder) == []
    assert outputs[-1] == "finished\n"
    assert len(outputs) > 5


@pytest.mark.system
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_writer_killed_at_any_time_leaves_no_half_result(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for pause in (0.0, 0.003, 0.011):
        with start(WRITES_FOREVER, str(tmp_path)) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(pause)
            writer.kill()
        whole(store)
    put(store, make_run(keep=40))
    assert whole(store)
    assert leftovers(tmp_path) == []


def test_a_leftover_of_another_run_is_ignored_and_goes_after_a_day(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fresh, old = tmp_path / ".a-1.json.0123.tmp", tmp_path / ".b-1.json.0123.tmp"
    fresh.write_text("{")
    old.write_text("{")
    os.utime(old, (0, 0))
    put(store, make_run())
    assert whole(store)
    assert leftovers(tmp_path) == [fresh]


def failing(code: int) -> Callable[..., None]:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_full_disk_is_explained_and_keeps_what_was_there(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    other = put(store, make_run("random", 40))
    rows = make_rows(make_run())
    monkeypatch.setattr(os, function, failing(errno.ENOSPC))
    with pytest.raises(KeeprateError) as caught:
        store.write(make_result(make_run(), rows), rows)
    monkeypatch.undo()
    assert str(caught.value) == (
        f"Cannot write to {tmp_path}: No space left on device. "
        "Free some space there, or choose another folder."
    )
    assert store.results() == ([other], [])
    assert leftovers(tmp_path) == []


def test_a_disk_that_is_full_before_the_names_change_keeps_the_older_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    older = put(store, make_run(), accuracy=0.9)
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(KeeprateError):
        put(store, make_run(), accuracy=0.5)
    assert store.read(older.id) == older
    assert whole(store)


def test_a_really_full_file_system_is_explained(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a file system of its own")
    try:
        with pytest.raises(KeeprateError, match="No space left on device"):
            write_together({tmp_path / "a": bytes(100), tmp_path / "b": bytes(100_000)})
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "inside"):
        with pytest.raises(KeeprateError, match=r"^Cannot write to .*: .*choose another\.$"):
            write_together({folder / "x.json": b"{}"})


def test_a_folder_without_permission_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", failing(errno.EACCES))
    with pytest.raises(KeeprateError, match=r"Permission denied\. Choose a folder you may write"):
        write_together({tmp_path / "x.json": b"{}"})


def test_files_can_be_read_by_whom_the_user_lets_read(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    write_together({tmp_path / "x.json": b"{}"})
    assert (tmp_path / "x.json").stat().st_mode == plain.stat().st_mode


def full_disk(path: Path) -> None:
    path.write_text("half of")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_staged_files_appear_together(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with staged(tmp_path) as folder:
        (folder / "a").write_text("new")
        (folder / "inside").mkdir()
        (folder / "inside" / "b").write_text("b")
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new"
    assert (tmp_path / "inside" / "b").read_text() == "b"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "inside"}


def test_staged_files_of_a_full_disk_leave_those_of_before(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def write() -> None:
        with staged(tmp_path) as folder:
            (folder / "b").write_text("b")
            full_disk(folder / "a")

    with pytest.raises(KeeprateError) as caught:
        write()
    assert str(caught.value) == (
        f"Cannot write to {tmp_path}: No space left on device. Free some space there, or choose "
        "another folder."
    )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_an_error_of_whoever_writes_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), staged(tmp_path) as folder:
        (folder / "missing").read_text()
    assert list(tmp_path.iterdir()) == []
