"""The unfinished runs of one comparison: passes over the data, and what becomes of each run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from .._devices import device_name, device_of
from ..engine import Engine, RowSink, RunError, Task
from ..errors import SampleError
from ..results.environment import environment
from ..results.partial_rows import PartialRows
from ..results.records import Environment, Failure, Macs, Measured, Result, Throughput
from ..results.store import Store
from ..study.comparison import Comparison, Run
from .distributed import broadcast_from_first, is_first_process, wait_for_all
from .events import Listener, Note, PassEnded, PassStarted, RunFailed, RunFinished
from .rows import RunRows, outcome_of
from .tasks import tasks_of
from .throughput import measure_throughput


@dataclass
class StudyOutcome:
    """How a study ended: ids of its runs, and what kept whole comparisons from running.

    Of comparisons not begun, when a study is stopped, `left` has the title in place of ids.
    """

    finished: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RunContext:
    """Where the runs of a study are computed, stored, told of and counted."""

    store: Store
    engine: Engine
    listen: Listener
    stopping: Callable[[], bool]
    tally: StudyOutcome = field(default_factory=StudyOutcome)


class ComparisonRunner:
    """The unfinished runs of one comparison: their passes, and what becomes of each."""

    def __init__(self, comparison: Comparison, context: RunContext, pending: Sequence[Run]) -> None:
        self.comparison, self.context = comparison, context
        self.store, self.listen, self.tally = context.store, context.listen, context.tally
        self.pending = {job.id: job for job in pending}
        self.partial = PartialRows(self.store.folder)
        self.failed: dict[str, RunError] = {}
        self.notes: dict[str, list[str]] = defaultdict(list)
        self.started = datetime.now(UTC).isoformat(timespec="seconds")

    def run(self) -> None:
        """Pass over the data as often as it takes: first with the unpruned run, then the others."""
        if self.comparison.options.force and is_first_process():
            self.partial.forget(self.pending)
        first = self.comparison.unpruned.id
        tasks = broadcast_from_first(self._tasks())
        leading = [task for task in tasks if first in task.ids]
        others = [task for task in tasks if first not in task.ids]
        self._pass_all(leading)
        if first in self.failed:
            self._fail_all(self.failed[first])
        elif self.comparison.reference is not None:
            self._pass_all(others)
        self._settle()

    def _tasks(self) -> list[Task]:
        """Return what is left."""
        done = self.partial.done(self.pending)
        samples, options = len(self.comparison.samples), self.comparison.options
        return tasks_of(done, samples, options.runs_per_pass, self.comparison.unpruned.id)

    def _pass_all(self, tasks: Sequence[Task]) -> None:
        """Run tasks together if the engine can, else one after another."""
        together = self.context.engine.is_parallel
        for part in [tasks] if together else [[task] for task in tasks]:
            if part and not self.context.stopping():
                self._pass(part)

    def _pass(self, tasks: Sequence[Task]) -> None:
        samples = len(self.comparison.samples)
        left = sum(len(task.positions) for task in tasks)
        ids = [name for task in tasks for name in task.ids]
        self.listen(PassStarted(ids, left, len(tasks) * samples - left))
        try:
            self.context.engine.run(self.comparison, tasks, self._sink())
        except SampleError as error:
            said = str(error).strip().splitlines()[-1]
            said = said.removeprefix(f"{SampleError.__module__}.SampleError: ")
            for name in ids:
                self._failed(name, RunError(said, str(error)))
        finally:
            self.listen(PassEnded())
        wait_for_all()
        self._finish()
        wait_for_all()

    def _sink(self) -> RowSink:
        def note(names: Sequence[str], text: str) -> None:
            for name in names:
                self.notes[name].append(text)
            self.listen(Note(text))

        return RowSink(
            take=self.partial.take,
            fail=self._failed,
            note=note,
            listen=self.listen,
            stopping=self.context.stopping,
        )

    def _failed(self, name: str, why: RunError) -> None:
        if name in self.failed:
            return
        self.failed[name] = why
        job = self.pending[name]
        failure = Failure(
            run=job.info,
            error=why.error,
            traceback=why.traceback,
            environment=self._environment(name),
        )
        self.store.write_failure(failure)
        self.tally.failed.append(name)
        self.listen(RunFailed(job.label, failure))

    def _fail_all(self, why: RunError) -> None:
        said = f"The unpruned model, which all are compared with, failed: {why.error}"
        for name in self.pending:
            self._failed(name, RunError(said, why.traceback))

    def _finish(self) -> None:
        """Store every run that has all its rows."""
        first = self.comparison.unpruned.id
        if not is_first_process():
            self._share_reference(first)
            return
        samples = len(self.comparison.samples)
        for name, done in self.partial.done(self.pending).items():
            if len(done) == samples and name not in {*self.failed, *self.tally.finished}:
                self._store(self.pending[name])

    def _share_reference(self, first: str) -> None:
        """Read what the first process is about to store."""
        done = self.partial.done([first])[first] if first in self.pending else ()
        if len(done) == len(self.comparison.samples):
            found = self.partial.logits(first).sort("place")["logits"].to_numpy()
            self.comparison.reference = np.array(found, dtype=np.float32)

    def _store(self, job: Run) -> None:
        logits = None
        if job is self.comparison.unpruned:
            logits = self.partial.logits(job.id)
        outcome = outcome_of(self.partial.rows(job.id), self.comparison.samples, logits)
        if outcome.logits is not None:
            found = outcome.logits.numpy()
            self.comparison.reference = found
            self.store.write_logits(job.id, self.comparison.sample_ids(), found)
        measured = self._measured(job, outcome, self._throughput(job))
        result = Result(run=job.info, measured=measured, environment=self._environment(job.id))
        self.store.write(result, outcome.rows)
        self.store.forget_failure(job.id)
        self.tally.finished.append(job.id)
        self.listen(RunFinished(job.label, result))

    def _throughput(self, job: Run) -> Throughput | None:
        options = self.comparison.options
        if not options.throughput or not job.info.reduces or self.context.stopping():
            return None
        return measure_throughput(
            job.model,
            precision=options.loop.precision,
            accelerator=options.loop.accelerator,
            batch_size=options.loop.batch_size,
        )

    def _measured(self, job: Run, outcome: RunRows, throughput: Throughput | None) -> Measured:
        total = float(outcome.rows["macs"].mean())  # type: ignore[arg-type]
        tokens = outcome.rows["tokens"].to_list()
        return Measured(
            images=outcome.images,
            top1=outcome.top1,
            top5=outcome.top5,
            agreement=outcome.agreement,
            kl=outcome.kl,
            macs=Macs(
                model=total - outcome.overhead,
                overhead=outcome.overhead,
                total=total,
                unpruned=self.comparison.unpruned_macs(),
            ),
            tokens=tuple(sum(column) / len(column) for column in zip(*tokens, strict=True)),
            wall_seconds=outcome.seconds,
            throughput=throughput,
        )

    def _environment(self, name: str) -> Environment:
        notes = tuple(dict.fromkeys(self.notes[name]))
        loop = self.comparison.options.loop
        device = device_name(device_of(loop.accelerator))
        return environment(self.started, device, loop.batch_size, loop.workers, notes)

    def _settle(self) -> None:
        """Tidy up, and count what is left."""
        if not is_first_process():
            return
        over = {*self.tally.finished, *self.failed}
        self.partial.tidy(over)
        self.tally.left += [name for name in self.pending if name not in over]
