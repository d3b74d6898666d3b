"""Tells the workers of Ray to stop between two batches."""

from __future__ import annotations

import time
from typing import Any

import ray


class StopFlag:
    """An actor that tells workers, between two batches, whether the study was stopped."""

    def __init__(self) -> None:
        self._raised = False

    def raise_flag(self) -> None:
        """Tell every worker that asks from now on to stop."""
        self._raised = True

    def is_raised(self) -> bool:
        """Return whether no further batch should begin."""
        return self._raised


class Watch:
    """Asks the flag, at most once a second; a flag that cannot be reached stops no worker."""

    def __init__(self, flag: Any) -> None:
        self._flag = flag
        self._next = time.monotonic()
        self._stopped = False

    def __call__(self) -> bool:
        """Return whether no further batch should begin."""
        if not self._stopped and time.monotonic() >= self._next:
            try:
                self._stopped = ray.get(self._flag.is_raised.remote(), timeout=10)
            except ray.exceptions.RayError:
                self._stopped = False
            # a question to another machine takes longer than a small batch
            self._next = time.monotonic() + 1
        return self._stopped
