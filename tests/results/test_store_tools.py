"""Runs are found and removed whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from keeprate.errors import KeeprateError
from keeprate.results.manage import find, images_done, known, open_store, remove
from keeprate.results.store import Store
from results_factory import fill, make_run, put
from store_factory import begin, contents, fail, ids, logits


class TestFind:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return fill(tmp_path)

    def test_an_id_a_beginning_or_a_pattern(self, store: Store) -> None:
        full, *others = known(store)
        assert find(store, full) == find(store, "full") == find(store, full[:-1]) == [full]
        assert find(store, "*") == [full, *others]
        assert find(store, "tome-*") == [name for name in others if name.startswith("tome")]
        assert find(store, f"{full[:-1]}?") == find(store, f"[f]{full[1:]}") == [full]

    def test_one_name_may_begin_another(self, store: Store) -> None:
        tome = put(store, make_run("tome-full", 30)).id
        assert find(store, "tome-full") == [tome]

    def test_a_beginning_of_several_is_refused(self, store: Store) -> None:
        both = [name for name in known(store) if name.startswith("tome")]
        with pytest.raises(KeeprateError) as caught:
            find(store, "tome")
        assert str(caught.value) == (
            f"2 runs begin with 'tome': {', '.join(both)}. "
            "Type more of the one, or 'tome*' for all."
        )

    @pytest.mark.parametrize("pattern", ["", "tone-0", "x*", "ome"])
    def test_what_is_not_there_is_explained(self, pattern: str, store: Store) -> None:
        with pytest.raises(KeeprateError, match=rf"^No run '{pattern.replace('*', '.')}'\. "):
            find(store, pattern)

    def test_a_slip_gets_the_nearest_name(self, store: Store) -> None:
        full = known(store)[0]
        with pytest.raises(KeeprateError, match=rf"Did you mean '{full}'\?$"):
            find(store, full.replace("full", "fall"))

    def test_failed_unreadable_and_begun_runs_are_known(self, store: Store) -> None:
        before = known(store)
        failed, begun = make_run("broken", 40), make_run("begun", 40)
        fail(store, failed)
        begin(store, 17, begun)
        store.path_of(before[0], ".json").write_text("{")
        store.path_of(before[1], ".json").unlink()
        assert known(store) == sorted([*before, failed.id, begun.id])
        assert images_done(store) == {begun.id: 17}

    def test_files_of_others_are_no_runs(self, store: Store) -> None:
        before = known(store)
        for name in ("notes.json", "table.parquet", ".lock-owner", f".{before[0]}.json.00.tmp"):
            (store.folder / name).write_text("{}")
        assert known(store) == before

    def test_images_in_several_segments_count_once(self, tmp_path: Path) -> None:
        store, one, other = Store(tmp_path), make_run("one", 40), make_run("other", 40)
        begin(store, 17, one)
        begin(store, 20, one, other)
        (tmp_path / "partial/broken.rows.parquet").write_bytes(b"PAR1")
        assert images_done(store) == {one.id: 20, other.id: 20}


class TestOpenStore:
    def test_a_folder_is_opened(self, tmp_path: Path) -> None:
        assert open_store(tmp_path).folder == tmp_path

    def test_what_is_no_folder_is_explained(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(KeeprateError, match=r"file is a file, not a folder of results\.$"):
            open_store(tmp_path / "file")
        with pytest.raises(
            KeeprateError, match=r"^No results folder '.*first'\. `keeprate compare"
        ):
            open_store(tmp_path / "first")
        fill(tmp_path / "first")
        with pytest.raises(KeeprateError, match=r"frist'\. Did you mean '.*first'\?$"):
            open_store(tmp_path / "frist")


class TestRemove:
    def test_everything_of_a_run_goes_and_nothing_else(self, tmp_path: Path) -> None:
        store, other = fill(tmp_path / "a"), fill(tmp_path / "b")
        gone = put(store, make_run("gone", 30))
        logits(store, gone)
        fail(store, gone.run)
        fail(store, make_run("kept", 30))
        fail(other, make_run("kept", 30))
        (store.folder / "table.csv").write_text("")
        (other.folder / "table.csv").write_text("")
        remove(store, [gone.id])
        assert contents(store.folder) == contents(other.folder)

    def test_rows_of_an_unfinished_run_go_those_of_others_stay(self, tmp_path: Path) -> None:
        store, gone, kept = fill(tmp_path), make_run("gone", 30), make_run("kept", 30)
        begin(store, 17, gone, kept)
        remove(store, [gone.id])
        assert images_done(store) == {kept.id: 17}

    def test_what_is_not_there_is_no_error(self, tmp_path: Path) -> None:
        store = fill(tmp_path)
        before = contents(tmp_path)
        remove(store, ["tome-000000000000"])
        assert contents(tmp_path) == before

    def test_the_json_goes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stopped after any file, the run no longer counts as finished."""
        store = fill(tmp_path)
        gone = put(store, make_run("gone", 30))
        logits(store, gone)
        unlink, seen = Path.unlink, []

        def watched(path: Path, missing_ok: bool = False) -> None:
            unlink(path, missing_ok)
            if path.name.startswith(gone.id):
                seen.append((path.suffix, store.find(gone.id)))

        monkeypatch.setattr(Path, "unlink", watched)
        remove(store, [gone.id])
        assert seen[0] == (".json", None)

    def test_a_folder_that_cannot_be_changed_is_explained(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = fill(tmp_path)

        def refuse(path: Path, missing_ok: bool = False) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(Path, "unlink", refuse)
        with pytest.raises(KeeprateError, match=r"^Cannot write to .*: Read-only file system\. "):
            remove(store, ids(store))
