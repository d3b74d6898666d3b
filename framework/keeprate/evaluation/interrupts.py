"""Ctrl-C: the first ends a study cleanly after the batch, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopSwitch:
    """Set when the process was asked to stop, by Ctrl-C or by the system that runs its job."""

    def __init__(self) -> None:
        self.is_set = False

    def __call__(self) -> bool:
        """Return whether no further work should begin."""
        return self.is_set

    @contextmanager
    def on_signals(self, say: Callable[[str], None]) -> Iterator[StopSwitch]:
        """Listen for SIGINT and SIGTERM inside the context; `say` tells what will happen.

        The second signal raises KeyboardInterrupt. Outside the main thread, where signals cannot be
        heard, nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        process = os.getpid()

        def heard(number: int, frame: FrameType | None) -> None:
            if os.getpid() != process:  # a data loader's worker: its parent tells it what to do
                return
            if self.is_set:
                raise KeyboardInterrupt
            self.is_set = True
            say("Stopping after this batch; what is done is kept. Once more stops at once.")

        before: dict[int, Any] = {
            number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
