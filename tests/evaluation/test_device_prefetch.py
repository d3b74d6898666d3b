"""Batches are copied to a GPU ahead, in order; without a GPU its streams are written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from keeprate.errors import SampleError
from keeprate.evaluation import lightning_loop as loop
from keeprate.evaluation.device_prefetch import DevicePrefetch
from run_factory import request, rows_of, run, same

CPU = torch.device("cpu")
Log = list[str]


class Stream:
    """A stream of a GPU that only writes down what it is asked for."""

    def __init__(self, log: Log, name: str) -> None:
        self.log, self.name, self.events = log, name, 0

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> str:
        self.events += 1
        return f"copy {self.events}"

    def wait_event(self, event: str) -> None:
        self.log.append(f"{self.name} waits for {event}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What the streams of a pretended GPU were asked for."""
    seen: Log = []
    computing = Stream(seen, "computing")

    @contextmanager
    def on(stream: Stream) -> Iterator[None]:
        seen.append(f"copy {stream.events + 1} begins")
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(seen, "copying"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(torch.cuda, "stream", on)
    return seen


def batches(log: Log, numbers: Sequence[Any]) -> list[Any]:
    """Go over a loader of these samples two at a time, and write down when a batch is computed."""
    seen = []
    for batch in DevicePrefetch(DataLoader(numbers, batch_size=2), CPU):  # type: ignore[arg-type]
        log.append(f"computing {batch.tolist()}")
        seen.append(batch)
    return seen


def test_batches_come_in_order_with_their_values(log: Log) -> None:
    found = batches(log, [0, 1, 2, 3, 4])
    assert [batch.tolist() for batch in found] == [[0, 1], [2, 3], [4]]
    assert len(DevicePrefetch(DataLoader(range(5), batch_size=2), CPU)) == 3  # type: ignore[arg-type]
    assert batches(log, []) == []


def test_a_batch_is_copied_before_the_one_ahead_of_it_is_computed_which_waits_for_its_own(
    log: Log,
) -> None:
    batches(log, [0, 1, 2, 3, 4])
    free = "copying waits for computing"  # what was computed may still read the memory
    assert log == [
        *(free, "copy 1 begins"),
        *(free, "copy 2 begins", "computing waits for copy 1", "computing [0, 1]"),
        *(free, "copy 3 begins", "computing waits for copy 2", "computing [2, 3]"),
        *("computing waits for copy 3", "computing [4]"),
    ]


class Damaged:
    """Four samples, of which the last cannot be read."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, position: int) -> int:
        if position == 3:
            raise SampleError("Sample 'three' cannot be read.")
        return position


def test_an_error_in_reading_ahead_comes_out_as_it_is(log: Log) -> None:
    with pytest.raises(SampleError, match=r"^Sample 'three' cannot be read\.$"):
        batches(log, Damaged())  # type: ignore[arg-type]


@pytest.mark.parametrize(("device", "ahead"), [("cuda", True), ("cpu", False), ("mps", False)])
def test_only_for_cuda_is_memory_pinned_and_a_batch_copied_ahead(device: str, ahead: bool) -> None:
    samples = SimpleNamespace(collate=torch.stack, data=SimpleNamespace(samples=list))
    work = loop.Pass({}, samples, [4, 7, 9, 11])  # type: ignore[arg-type]
    module = loop.PassLoop(work, loop.LoopOptions(batch_size=3), SimpleNamespace(note=None))  # type: ignore[arg-type]
    strategy = SimpleNamespace(root_device=torch.device(device))
    module._trainer = SimpleNamespace(global_rank=1, world_size=2, strategy=strategy)  # type: ignore[assignment]
    given = module.test_dataloader()
    assert isinstance(given, DevicePrefetch) == ahead
    loader = given.loader if isinstance(given, DevicePrefetch) else given
    assert loader.pin_memory == ahead
    assert list(loader.dataset.positions) == [7, 11]  # type: ignore[attr-defined]


@pytest.fixture
def ahead(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let passes on the processor copy ahead, as those on a GPU do."""
    original = loop.PassLoop.test_dataloader

    def prefetched(module: loop.PassLoop) -> DevicePrefetch:
        loader = original(module)
        assert isinstance(loader, DataLoader)
        return DevicePrefetch(loader, CPU)

    monkeypatch.setattr(loop.PassLoop, "test_dataloader", prefetched)


@pytest.mark.slow
def test_a_pass_that_is_stopped_and_taken_up_again_has_the_rows_of_one_that_was_not(
    tmp_path: Path, ahead: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request([("tome", {}, "r=4")], limit=11)
    asks = iter([False] * 2 + [True] * 99)
    seen: list[Tensor] = []
    original = loop.PassLoop.test_step

    def step(module: loop.PassLoop, batch: Sequence[Any], batch_index: int) -> None:
        seen.append(batch[-1])
        original(module, batch, batch_index)

    monkeypatch.setattr(loop.PassLoop, "test_step", step)
    stopped = run(tmp_path / "prefetched", asked, stopping=lambda: next(asks))
    assert stopped.finished == []
    judged = len(seen)
    assert 0 < judged < 3
    assert len(run(tmp_path / "prefetched", asked).finished) == 2
    assert len(seen) == 3  # what was judged before is not judged again
    monkeypatch.undo()
    run(tmp_path / "plain", asked)
    assert same(rows_of(tmp_path / "prefetched"), rows_of(tmp_path / "plain"))
