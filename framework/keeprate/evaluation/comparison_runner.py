"""Computes the unfinished runs of one comparison, and stores how each of them ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .._devices import device_name, device_of
from ..engine import Engine, RowSink, RunError, Task
from ..errors import SampleError
from ..results.environment import environment
from ..results.measured import Macs, Measured, Throughput
from ..results.partial_rows import PartialRows
from ..results.records import Environment, Failure, Result
from ..results.store import Store
from ..study.comparison import Comparison, Run
from .calibration import calibration_note, solve_budgets
from .classification import metric_sources
from .distributed import broadcast_from_first, is_first_process, wait_for_all
from .events import (
    ComparisonLeft,
    Listener,
    Note,
    PassEnded,
    PassStarted,
    RunFailed,
    RunFinished,
    SpeedAdvanced,
)
from .row_counter import RowCounter
from .rows import RunRows, logits_of, outcome_of
from .tasks import tasks_of
from .throughput import measure_together, speed_unknown


@dataclass
class StudyOutcome:
    """How a study ended: the ids of its runs, and the `problems` of comparisons that did not run.

    When a study is stopped, `left` are the ids of the runs of comparisons that began, `not_begun`
    the other comparisons.
    """

    finished: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    not_begun: list[ComparisonLeft] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def runs_left(self) -> int:
        """How many runs a stopped study has left, those of comparisons that did not begin too."""
        return len(self.left) + sum(comparison.runs for comparison in self.not_begun)


@dataclass(frozen=True)
class RunContext:
    """What the runs of a study share: the store, the engine, the listener and the tally."""

    store: Store
    engine: Engine
    listen: Listener
    stopping: Callable[[], bool]
    tally: StudyOutcome = field(default_factory=StudyOutcome)


class ComparisonRunner:
    """Runs the passes of one comparison, and stores the result or the failure of each run."""

    def __init__(self, comparison: Comparison, context: RunContext, pending: Sequence[Run]) -> None:
        self.comparison, self.context = comparison, context
        self.store, self.listen, self.tally = context.store, context.listen, context.tally
        self.pending = {job.id: job for job in pending}
        self.partial = PartialRows(self.store.folder)
        self.failed: dict[str, RunError] = {}
        self.notes: dict[str, list[str]] = defaultdict(list)
        self._told: set[str] = set()
        self.started = datetime.now(UTC).isoformat(timespec="seconds")

    def run(self) -> None:
        """Pass over the data until every run has ended: the unpruned run first, then the others."""
        if self.comparison.options.force and is_first_process():
            self.partial.forget(self.pending)
        if is_first_process():
            self.partial.keep_runs([job.info for job in self.pending.values()])
        self._solve_budgets()
        self._finish_together()  # an attempt may have ended between the last rows and the result
        first = self.comparison.unpruned.id
        # the first process may just have removed rows: all go by what it sees
        left = [run_id for run_id in self.pending if run_id not in self.failed]
        tasks = tasks_of(self.comparison, broadcast_from_first(self.partial.done(left)))
        leading = [task for task in tasks if first in task.ids]
        others = [task for task in tasks if first not in task.ids]
        # every other run is compared with the unpruned model's logits, so these must be there
        self._pass_all(leading)
        if first in self.failed:
            self._fail_all(self.failed[first])
        elif self.comparison.reference is not None:
            self._pass_all(others)
        self._settle()

    def _solve_budgets(self) -> None:
        """Solve the budgets that have to be solved on images; a run that cannot be fails."""
        solved = solve_budgets(self.comparison, list(self.pending.values()), self.partial)
        for run_id, found in solved.items():
            if isinstance(found, RunError):
                self._failed(run_id, found)
                continue
            job = self.pending[run_id] = self.comparison.settle(run_id, found)
            if note := calibration_note(found):
                self.notes[run_id].append(note)
                self.listen(Note(f"Run '{job.label}': {note}"))

    def _pass_all(self, tasks: Sequence[Task]) -> None:
        """Run tasks together if the engine can, else one after another."""
        together = self.context.engine.is_parallel
        for part in [tasks] if together else [[task] for task in tasks]:
            if part and not self.context.stopping():
                self._pass(part)

    def _pass(self, tasks: Sequence[Task]) -> None:
        samples = len(self.comparison.samples)
        remaining = sum(len(task.positions) for task in tasks)
        run_ids = [run_id for task in tasks for run_id in task.ids]
        self.listen(PassStarted(run_ids, remaining, len(tasks) * samples - remaining))
        try:
            self.context.engine.run(tasks, self._sink())
        except SampleError as error:
            # a data loader's worker sends its whole traceback as the message: the last line counts
            message = str(error).strip().splitlines()[-1]
            message = message.removeprefix(f"{SampleError.__module__}.SampleError: ")
            for run_id in run_ids:
                self._failed(run_id, RunError(message, str(error)))
        finally:
            self.listen(PassEnded())
        self._finish_together()

    def _sink(self) -> RowSink:
        def note(names: Sequence[str], text: str) -> None:
            for name in names:
                self.notes[name].append(text)
            # several parts of a task may say the same: it is told once
            if text not in self._told:
                self._told.add(text)
                self.listen(Note(text))

        return RowSink(
            take=self.partial.take,
            fail=self._failed,
            note=note,
            listen=self.listen,
            stopping=self.context.stopping,
            advance=RowCounter(self.listen),
        )

    def _failed(self, run_id: str, run_error: RunError) -> None:
        # several processes or workers may report the same run: the first reason is stored
        if run_id in self.failed:
            return
        self.failed[run_id] = run_error
        job = self.pending[run_id]
        failure = Failure(
            run=job.info,
            error=run_error.error,
            traceback=run_error.traceback,
            environment=self._environment(run_id),
        )
        self.store.write_failure(failure)
        self.tally.failed.append(run_id)
        self.listen(RunFailed(job.label, failure))

    def _fail_all(self, run_error: RunError) -> None:
        message = f"The unpruned model, which all are compared with, failed: {run_error.error}"
        for run_id in self.pending:
            self._failed(run_id, RunError(message, run_error.traceback))

    def _finish_together(self) -> None:
        # a run is finished only when the rows of all processes are on disk
        wait_for_all()
        self._finish()
        # the others read the reference from partial rows, which the first process will remove
        wait_for_all()

    def _finish(self) -> None:
        """Store every run that has the rows of all samples."""
        first = self.comparison.unpruned.id
        if not is_first_process():
            self._share_reference(first)
            return
        samples = len(self.comparison.samples)
        complete = [
            self.pending[run_id]
            for run_id, positions in self.partial.done(self.pending).items()
            if len(positions) == samples and run_id not in {*self.failed, *self.tally.finished}
        ]
        speeds = self._throughputs(complete)
        for job in complete:
            self._store(job, speeds.get(job.id))

    def _share_reference(self, first: str) -> None:
        """Read the unpruned model's logits from the partial rows, once they are complete.

        The first process stores the run at the same time, so the store may not have them yet.
        """
        positions = self.partial.done([first])[first] if first in self.pending else ()
        if len(positions) == len(self.comparison.samples):
            self.comparison.reference = logits_of(self.partial.logits(first)).numpy()

    def _store(self, job: Run, throughput: Throughput | None) -> None:
        logits = None
        if job is self.comparison.unpruned:
            logits = self.partial.logits(job.id)
        outcome = outcome_of(self.partial.rows(job.id), self.comparison.samples, logits)
        if outcome.logits is not None:
            reference = outcome.logits.numpy()
            self.comparison.reference = reference
            # before the result: once there is one, the run counts as finished
            self.store.write_logits(job.id, self.comparison.sample_ids(), reference)
        measured = self._measured(job, outcome, throughput)
        result = Result(run=job.info, measured=measured, environment=self._environment(job.id))
        self.store.write(result, outcome.rows)
        # last, so that a process killed in between leaves one record or both, never none
        self.store.forget_failure(job.id)
        self.tally.finished.append(job.id)
        self.listen(RunFinished(job.label, result))

    def _throughputs(self, complete: Sequence[Run]) -> dict[str, Throughput]:
        """Measure the speed of runs that have all their rows, by id; of none where that is off."""
        options = self.comparison.options
        if not options.throughput:
            return {}
        # the unpruned model is timed in turns with the reduced ones, so not by itself
        timed = [job for job in complete if job.info.reduces]
        ids = [self.comparison.unpruned.id, *(job.id for job in timed)]

        def watch(turn: int, share: float) -> bool:
            self.listen(SpeedAdvanced(ids[turn], share))
            return not self.context.stopping()

        speeds = measure_together(
            [job.model for job in timed],
            precision=options.loop.precision,
            accelerator=options.loop.accelerator,
            batch_size=options.loop.batch_size,
            watch=watch,
        )
        # a study that is stopped meanwhile keeps its runs, without their speed
        if len(speeds) < len(timed):
            self.listen(Note(speed_unknown(len(timed))))
        return dict(zip(ids[1:], speeds, strict=False))

    def _measured(self, job: Run, outcome: RunRows, throughput: Throughput | None) -> Measured:
        total = float(outcome.rows["macs"].mean())  # type: ignore[arg-type]
        tokens = outcome.rows["tokens"].to_list()
        return Measured(
            images=outcome.images,
            metrics=dict(outcome.metrics),
            metric_sources=metric_sources(outcome.metrics),
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
        # several batches or workers may give the same note: each is kept once, in order
        notes = tuple(dict.fromkeys([*self.comparison.input_notes, *self.notes[name]]))
        loop = self.comparison.options.loop
        device = device_name(device_of(loop.accelerator))
        return environment(self.started, device, loop.batch_size, loop.workers, notes)

    def _settle(self) -> None:
        """Remove the partial rows of runs that ended, and count the other runs as left."""
        if not is_first_process():
            return
        ended = {*self.tally.finished, *self.failed}
        self.partial.tidy(ended)
        self.tally.left += [run_id for run_id in self.pending if run_id not in ended]
