"""One pass after another, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ...engine import Engine, RowSink, Task


class Sequential(Engine):
    """Runs one pass after another in this process; with several devices by Lightning's DDP."""

    name: ClassVar[str] = "sequential"
    is_default: ClassVar[bool] = True

    def run(self, tasks: Sequence[Task], sink: RowSink) -> None:
        """Compute all tasks, one after another."""
        for task in tasks:
            if not sink.stopping():
                task.run_here(sink)
