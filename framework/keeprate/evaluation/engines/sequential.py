"""One pass after another, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from ...engine import Engine, RowSink, Task

if TYPE_CHECKING:
    from ...study.comparison import Comparison


class Sequential(Engine):
    """Runs one pass after another in this process; with several devices by Lightning's DDP."""

    name: ClassVar[str] = "sequential"
    is_default: ClassVar[bool] = True

    def run(self, comparison: Comparison, tasks: Sequence[Task], sink: RowSink) -> None:
        """Compute all tasks, one after another."""
        from ..passes import run_pass
        from ..tasks import pass_of

        for task in tasks:
            if not sink.stopping():
                run_pass(pass_of(comparison, task), comparison.options.loop, sink)
