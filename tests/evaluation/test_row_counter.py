"""The figures so far are those of the default metric, whichever it is."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from keeprate.analysis.metrics import compared_metric
from keeprate.evaluation.events import Event, PassAdvanced
from keeprate.evaluation.row_counter import RowCounter
from keeprate.results.store import Store
from run_factory import request, run


def by_kl(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Make `kl` what reports compare by."""
    monkeypatch.setattr(
        f"keeprate.evaluation.{module}.compared_metric", lambda name: compared_metric("kl")
    )


def test_rows_from_elsewhere_are_counted_and_averaged_by_the_default_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by_kl(monkeypatch, "row_counter")
    events: list[Event] = []
    count = RowCounter(events.append)
    nothing = float("nan")
    for places, values in (([0, 1], [0.5, nothing]), ([2, 3], [0.1, 0.3])):
        rows = {"run": ["a", "a"], "place": places, "correct": [True, True], "kl": values}
        count(pl.DataFrame(rows))
    count(pl.DataFrame({"run": ["b"], "place": [0], "correct": [True], "kl": [nothing]}))
    told = [event for event in events if isinstance(event, PassAdvanced)]
    assert [(event.images, event.metric) for event in told] == [(2, "kl"), (2, "kl"), (1, "kl")]
    assert told[-1].values() == pytest.approx({"a": 0.3})


def test_figures_of_a_pass_end_as_those_of_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_kl(monkeypatch, "lightning_loop")
    events: list[Event] = []
    store = Store(tmp_path / "store")
    run(store.folder, request([("tome", {}, "r=4")], limit=8), listen=events.append)
    last = [event for event in events if isinstance(event, PassAdvanced)][-1]
    assert last.metric == "kl"
    figures = {result.id: result.measured.metrics["kl"] for result in store.results()[0]}
    assert last.values() == pytest.approx(figures, rel=1e-4, abs=1e-9)
