"""Ctrl-C: the first one ends a study after the current batch, the second one at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopSwitch:
    """Is set once the process was asked to stop, by Ctrl-C or by a job system (SIGTERM)."""

    def __init__(self) -> None:
        self.is_set = False
        self._at_once = False

    def __call__(self) -> bool:
        """Return whether no further work should begin."""
        return self.is_set

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise KeyboardInterrupt at the first signal inside the context: no batch is under way."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    @contextmanager
    def on_signals(self, say: Callable[[str], None]) -> Iterator[StopSwitch]:
        """Handle SIGINT and SIGTERM inside the context; `say` prints what will happen.

        The second signal raises KeyboardInterrupt, the first in `at_once`. Outside the main
        thread, where Python cannot handle signals, the context does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        process = os.getpid()

        def handle(number: int, frame: FrameType | None) -> None:
            # a data loader's worker has inherited this handler: its parent tells it what to do
            if os.getpid() != process:
                return
            if self.is_set or self._at_once:
                self.is_set = True
                raise KeyboardInterrupt
            self.is_set = True
            say("Stopping after this batch; what is done is kept. Once more stops at once.")

        previous_handlers: dict[int, Any] = {
            number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield self
        finally:
            for number, handler in previous_handlers.items():
                signal.signal(number, handler)
