"""The benchmark of texts by their length compares like with like."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from paths import ROOT


@pytest.fixture
def sentences(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("sentences")


def test_texts_of_one_length_stay_together_and_all_come_last(sentences: ModuleType) -> None:
    lengths = [3, 9, 4, 4, 4, 12, 30, 4]
    rows = pl.DataFrame({"tokens": [[length, length] for length in lengths]})
    groups = sentences.groups_by_length(rows, 3)
    assert {title: part.tolist() for title, part in groups.items()} == {
        "3 to 4 tokens (5)": [0, 2, 3, 4, 7],
        "9 to 30 tokens (3)": [1, 5, 6],
        "3 to 30 tokens (8)": list(range(8)),
    }


def test_a_group_is_compared_sentence_by_sentence(sentences: ModuleType) -> None:
    def rows(macs: int, wrong: int, kl: float) -> pl.DataFrame:
        correct = np.arange(100) >= wrong
        return pl.DataFrame({"macs": [macs] * 100, "correct": correct, "kl": [kl] * 100})

    unpruned, theirs = rows(10, 0, 0.0), rows(7, 4, 0.25)
    cost, top1, points, p, kl, difference = sentences.cells(rows(6, 10, 0.5), theirs, unpruned)
    assert (cost, top1, p, kl) == ("60.0%", "90.0", "0.031", "0.5000")
    assert points.startswith("-6.0 [-")
    assert difference == "+0.2500 [+0.2500, +0.2500]"
