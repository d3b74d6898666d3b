"""Rows of unfinished runs are kept, found again, and never counted twice."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from keeprate.engine import RowBatch
from keeprate.errors import KeeprateError
from keeprate.evaluation.rows import frame, logits_frame
from keeprate.results.partial_rows import PartialRows
from keeprate.results.row_schemas import PARTIAL_ROW_SCHEMA


def rows(run: str, *positions: int) -> pl.DataFrame:
    position = torch.tensor(positions)
    yes, number = torch.ones(len(positions), dtype=torch.bool), torch.zeros(len(positions))
    columns = {
        "place": position,
        "label": position,
        "prediction": position,
        "correct": yes,
        "top5": position[:, None].repeat(1, 5),
        "correct_top5": yes,
        "confidence": number,
        "agrees": yes,
        "kl": number,
        "tokens": position[:, None].repeat(1, 12),
        "macs": position,
        "overhead": position,
    }
    return frame(run, columns, seconds=0.5)


def row_batch(*tables: pl.DataFrame, logits: int = 0) -> RowBatch:
    table = logits_frame(torch.arange(logits), torch.randn(logits, 3)) if logits else None
    return RowBatch(pl.concat(tables), table)


@pytest.fixture
def partial(tmp_path: Path) -> PartialRows:
    return PartialRows(tmp_path)


def test_what_is_taken_is_found_by_run(partial: PartialRows) -> None:
    partial.take(row_batch(rows("a", 0, 1), rows("b", 0, 1)))
    partial.take(row_batch(rows("a", 2)))
    assert partial.done(["a", "b", "c"]) == {"a": {0, 1, 2}, "b": {0, 1}, "c": set()}
    assert partial.rows("a").select(PARTIAL_ROW_SCHEMA.names()).schema == PARTIAL_ROW_SCHEMA
    assert sorted(partial.rows("a")["place"]) == [0, 1, 2]
    assert partial.rows("a")["seconds"].to_list() == [0.5] * 3
    assert partial.rows("c").height == 0


def test_what_two_segments_have_in_common_counts_once(partial: PartialRows) -> None:
    partial.take(row_batch(rows("a", 0, 1), logits=2))
    partial.take(row_batch(rows("a", 1, 2), logits=3))
    assert sorted(partial.rows("a")["place"]) == [0, 1, 2]
    assert sorted(partial.logits("a")["place"]) == [0, 1, 2]


def test_logits_are_found_by_the_run_they_came_with(partial: PartialRows) -> None:
    taken = row_batch(rows("a", 0, 1), rows("b", 0, 1), logits=2)
    partial.take(taken)
    partial.take(row_batch(rows("c", 0), logits=1))
    assert taken.logits is not None
    assert partial.logits("a").sort("place").equals(taken.logits)


def test_a_file_that_cannot_be_read_counts_for_nothing(partial: PartialRows) -> None:
    partial.take(row_batch(rows("a", 0)))
    (partial.folder / "broken.rows.parquet").write_bytes(b"PAR1 and no more")
    assert partial.done(["a"]) == {"a": {0}}
    assert partial.rows("a").height == 1


def test_forgetting_a_run_keeps_the_others_and_their_logits(partial: PartialRows) -> None:
    partial.take(row_batch(rows("a", 0), rows("b", 0), logits=1))
    partial.forget(["b"])
    assert partial.done(["a", "b"]) == {"a": {0}, "b": set()}
    assert partial.logits("a").height == 1
    partial.forget(["a"])
    assert list(partial.folder.iterdir()) == []


def test_segments_go_when_all_their_runs_are_over(partial: PartialRows) -> None:
    partial.take(row_batch(rows("a", 0), rows("b", 0), logits=1))
    partial.take(row_batch(rows("c", 0)))
    partial.tidy(["a"])
    assert len(list(partial.folder.iterdir())) == 3
    partial.tidy(["a", "b"])
    assert len(list(partial.folder.iterdir())) == 1
    partial.tidy(["a", "b", "c"])
    assert not partial.folder.exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeeprateError, match="Cannot write to"):
        PartialRows(tmp_path / "file").take(row_batch(rows("a", 0)))
