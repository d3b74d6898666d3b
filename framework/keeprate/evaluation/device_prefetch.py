"""Copies batches to a GPU ahead of the pass that computes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch.utils.data import DataLoader


class DevicePrefetch:
    """The batches of a loader on a GPU: one is copied there while the one before is computed.

    Lightning alone would copy a batch when it is due, and would convert it to half precision
    before, on the host and out of pinned memory: what comes from here is converted on the GPU.
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches in order; what reading one raises comes a batch early."""
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        started = (self._start(batch, stream) for batch in self.loader)
        ahead = next(started, None)
        while ahead is not None:
            (batch, copied), ahead = ahead, next(started, None)
            torch.cuda.current_stream(self.device).wait_event(copied)
            yield batch

    def _start(self, batch: Any, stream: torch.cuda.Stream) -> tuple[Any, torch.cuda.Event]:
        """Return a batch that is being copied on `stream`, and the event of its arrival."""
        # the copy may get the memory of a batch that was let go while it is still being read
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            moved = move_data_to_device(batch, self.device)
        return moved, stream.record_event()
