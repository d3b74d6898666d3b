"""When memory runs out a pass computes less at a time, says so, and gives the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
import torch
from torch import OutOfMemoryError, Tensor

from keeprate.evaluation import judging
from keeprate.evaluation.batch_splitting import BatchSplitter
from keeprate.results.store import Store
from run_factory import rows_of, run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The rows of the runs of one pass with memory enough."""
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    run(folder)
    return rows_of(folder)


def test_images_are_halved_to_one_before_runs_are_split() -> None:
    room, said = BatchSplitter(5), []
    for _ in range(5):
        said.append(([len(range(5)[part]) for part in room.slices(5)], room.groups("abcde")))
        room.shrink(5)
    assert [images for images, _ in said] == [[5], [3, 2], [2, 2, 1], [1] * 5, [1] * 5]
    assert [len(groups) for _, groups in said] == [1, 1, 1, 1, 2]
    assert [name for group in room.groups("abcde") for name in group] == list("abcde")
    assert room.is_smallest(1, 1)
    assert not room.is_smallest(1, 2)


class Small:
    """Memory for a few images at a time, and for a few runs at once."""

    def __init__(self, images: int, runs: int) -> None:
        self.images, self.runs = images, runs

    def __call__(
        self, forward: object, inputs: Tensor, index: Tensor, names: Sequence[str]
    ) -> object:
        if len(index) > self.images or len(names) > self.runs:
            raise OutOfMemoryError("CUDA out of memory.")
        return self.original(forward, inputs, index, names)

    original = staticmethod(judging.SharedForward.provisional)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "runs"), [(2, 99), (1, 2)])
def test_out_of_memory_halves_what_is_computed_at_a_time_and_says_so(
    tmp_path: Path,
    undisturbed: dict[str, pl.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
    images: int,
    runs: int,
) -> None:
    small = Small(images, runs)
    monkeypatch.setattr(judging.SharedForward, "provisional", lambda *given: small(*given))
    tally = run(tmp_path / "store")
    assert tally.failed == []
    found = rows_of(tmp_path / "store")
    exact = pl.exclude(pl.Float64)
    for name, rows in undisturbed.items():
        assert found[name].select(exact).equals(rows.select(exact))
        ours, theirs = found[name]["kl"].to_torch(), rows["kl"].to_torch()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # kernels of other sizes
    results, _ = Store(tmp_path / "store").results()
    said = results[0].environment.notes
    assert f"Out of memory: from here on {images} images are computed at a time." in said
    assert any("groups" in note for note in said) == (runs < 6)


@pytest.mark.slow
def test_a_run_for_which_there_is_never_enough_memory_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = judging.SharedForward.provisional

    def starving(forward: object, inputs: Tensor, index: Tensor, names: Sequence[str]) -> object:
        if any(name.startswith("zero-tprune") for name in names):
            raise OutOfMemoryError("CUDA out of memory.")
        return original(forward, inputs, index, names)  # type: ignore[arg-type]

    monkeypatch.setattr(judging.SharedForward, "provisional", starving)
    tally = run(tmp_path / "store")
    assert [name.rsplit("-", 1)[0] for name in tally.failed] == ["zero-tprune"]
    assert len(tally.finished) == 5
