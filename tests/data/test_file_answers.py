"""What was found out about files is kept, and asked for again as soon as one may have changed."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from keeprate import _file_answers as module
from keeprate._file_answers import CONTENT_SHA256, FileQuestion, ask, cache_folder


class Reader:
    """Answers with what is in a file, and remembers which it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, paths: Sequence[Path]) -> list[str]:
        self.read += [path.name for path in paths]
        return [path.read_text() if path.exists() else "" for path in paths]

    def ask(self, *paths: Path, version: str = "1") -> list[str]:
        """Ask, and forget what was read before."""
        self.read.clear()
        return ask(FileQuestion("text", version, self, bool), paths)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and files that count as old enough."""
    monkeypatch.setenv(module.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_CLOCK_STEP_NS", -(10**10))
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "data").mkdir()
    paths = [tmp_path / "data" / name for name in "abc"]
    for path in paths:
        path.write_text(f"{path.name} 1")
    time.sleep(0.02)  # more than a step of the clock by which the system stamps files
    return paths


def book(cache: Path) -> Path:
    (path,) = (cache / "files").glob("*.json")
    return path


def test_a_file_is_read_once(files: list[Path]) -> None:
    assert Reader().ask(*files) == ["a 1", "b 1", "c 1"]
    later = Reader()
    assert later.ask(*files) == ["a 1", "b 1", "c 1"]
    assert later.read == []


def test_only_what_changed_is_read_again(files: list[Path]) -> None:
    reader = Reader()
    reader.ask(*files)
    files[1].write_text("b 2")
    assert reader.ask(*files) == ["a 1", "b 2", "c 1"]
    assert reader.read == ["b"]


def replaced_by_name(path: Path) -> None:
    path.with_name("new").write_text("b 2")
    os.utime(path.with_name("new"), ns=(0, path.stat().st_mtime_ns))
    os.replace(path.with_name("new"), path)


def written_into(path: Path) -> None:
    before = path.stat().st_mtime_ns
    path.write_text("b 2")
    os.utime(path, ns=(0, before))


def copied_with_its_times(path: Path) -> None:
    new = path.with_name("new")
    new.write_text("b 2")
    os.utime(new, ns=(0, path.stat().st_mtime_ns))
    shutil.copy2(new, path)


@pytest.mark.skipif(os.name != "posix", reason="the system sets no time of change")
@pytest.mark.parametrize("replace", [replaced_by_name, written_into, copied_with_its_times])
def test_a_file_with_the_old_time_is_seen_to_be_another(replace: object, files: list[Path]) -> None:
    reader = Reader()
    reader.ask(*files)
    before = files[1].stat()
    assert callable(replace)
    replace(files[1])
    assert (files[1].stat().st_size, files[1].stat().st_mtime_ns) == (
        before.st_size,
        before.st_mtime_ns,
    )
    assert reader.ask(*files) == ["a 1", "b 2", "c 1"]


def test_a_file_that_was_just_changed_is_not_trusted(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change may leave the same times."""
    monkeypatch.setattr(module, "_CLOCK_STEP_NS", 10**18)
    reader = Reader()
    reader.ask(*files)
    reader.ask(*files)
    assert reader.read == ["a", "b", "c"]


def test_a_file_that_changes_while_it_is_read_is_not_trusted(files: list[Path]) -> None:
    class Slow(Reader):
        """The file grows behind its back."""

        def __call__(self, paths: Sequence[Path]) -> list[str]:
            answers = super().__call__(paths)
            for path in paths:
                path.write_text("longer than before")
            return answers

    Slow().ask(files[0])
    assert Reader().ask(files[0]) == ["longer than before"]


def test_a_file_that_is_not_there_is_asked_for_again(files: list[Path]) -> None:
    files[0].unlink()
    assert Reader().ask(*files) == ["", "b 1", "c 1"]
    files[0].write_text("a 2")
    assert Reader().ask(*files) == ["a 2", "b 1", "c 1"]


def test_answers_of_another_version_are_not_taken(files: list[Path]) -> None:
    reader = Reader()
    reader.ask(*files)
    reader.ask(*files, version="2")
    assert reader.read == ["a", "b", "c"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"b 1", b"b 7"),
        lambda content: b"",
        lambda content: b"\0" * len(content),
    ],
    ids=["cut", "changed", "empty", "zeros"],
)
def test_damaged_answers_are_not_taken(damage: object, files: list[Path], cache: Path) -> None:
    reader = Reader()
    reader.ask(*files)
    assert callable(damage)
    book(cache).write_bytes(damage(book(cache).read_bytes()))
    assert reader.ask(*files) == ["a 1", "b 1", "c 1"]
    assert reader.read == ["a", "b", "c"]


def test_who_comes_second_waits_and_reads_nothing(files: list[Path]) -> None:
    begun, second = threading.Event(), Reader()

    class First(Reader):
        """Reads for as long as it takes until the second one has come."""

        def __call__(self, paths: Sequence[Path]) -> list[str]:
            begun.set()
            thread.join(0.2)
            assert thread.is_alive(), "it did not wait"
            return super().__call__(paths)

    def come_second() -> None:
        begun.wait()
        second.ask(*files)

    thread = threading.Thread(target=come_second)
    thread.start()
    First().ask(*files)
    thread.join()
    assert second.read == []


def test_what_was_read_before_an_interruption_is_kept(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Reader):
        """Is stopped at the third file."""

        def __call__(self, paths: Sequence[Path]) -> list[str]:
            if paths[0].name == "c":
                raise KeyboardInterrupt
            return super().__call__(paths)

    monkeypatch.setattr(module, "_BLOCK", 1)
    with pytest.raises(KeyboardInterrupt):
        Interrupted().ask(*files)
    reader = Reader()
    reader.ask(*files)
    assert reader.read == ["c"]


def test_without_a_folder_to_write_to_files_are_read_each_time(
    files: list[Path], cache: Path
) -> None:
    cache.write_text("a file has the folder's name")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"Cannot write to .*KEEPRATE_CACHE\."):
            assert Reader().ask(*files) == ["a 1", "b 1", "c 1"]


def test_no_file_is_left_beside_the_answers(files: list[Path], cache: Path) -> None:
    Reader().ask(*files)
    assert {path.suffix for path in (cache / "files").iterdir()} <= {".json", ".lock"}
    assert len(json.loads(book(cache).read_bytes().partition(b"\n")[2])) == 3


def test_the_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv(module.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/keeprate")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ant")
    assert cache_folder() == Path("/home/ant/.cache/keeprate")


def test_the_hash_is_that_of_the_content(files: list[Path]) -> None:
    files[1].write_text("a 1")
    first, second, third, absent = ask(CONTENT_SHA256, [*files, files[0].with_name("absent")])
    assert first == second != third
    assert absent == ""
