"""Runs a whole study: reuses finished runs, computes the others, and stores their results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Timer
from typing import Final

from ..engine import Engine
from ..errors import KeeprateError
from ..plugins.code.code_hash import read_source
from ..plugins.registry import registry
from ..request import Request
from ..results.lock import locked
from ..results.records import Result
from ..results.reuse import find, take_over
from ..results.store import Store
from ..study.build import prepare
from ..study.comparison import Comparison, Run
from .comparison_runner import ComparisonRunner, RunContext, StudyOutcome
from .distributed import broadcast_from_first, is_first_process
from .events import ComparisonLeft, ComparisonStarted, Event, Listener, Note, RunReused
from .throughput import MOST_SECONDS, speed_unknown

_PATIENCE_SECONDS: Final = 10.0


def execute(
    requests: Sequence[Request],
    store: Store,
    engine: Engine,
    listen: Listener,
    stopping: Callable[[], bool] = lambda: False,
) -> StudyOutcome:
    """Compute the runs that are not finished, and store each one as soon as it is done.

    A run that fails is stored as failed and the others go on. A model or data set that cannot be
    loaded is left out if there are others. In a distributed run the first process writes. Raises
    KeeprateError for a folder that cannot be written to or that another process writes to, and
    when a single request cannot be prepared.
    """
    first = is_first_process()
    read_sources()
    # before the store is made: a single request with a mistake leaves no folder behind
    alone = _prepare(requests[0], listen if first else _ignore) if len(requests) == 1 else None
    # one process writes a store: another study in the same folder is refused
    lock: AbstractContextManager[object] = locked(store.folder) if first else nullcontext()
    with lock:
        if first:
            store.prepare()
        context = RunContext(store, engine, listen if first else _ignore, stopping)
        try:
            if alone is not None:
                run(alone, context)
            else:
                for request in requests:
                    _add(request, context)
        finally:
            engine.close()
    return context.tally


def _add(request: Request, context: RunContext) -> None:
    """Run one comparison of several; if it cannot be prepared, record a problem and go on."""
    if context.stopping():
        names = (request.model.name or "the model", request.data.name or "the data")
        title = " on ".join(names)
        context.tally.not_begun.append(title)
        context.listen(ComparisonLeft(title))
        return
    try:
        comparison = _prepare(request, context.listen)
    except KeeprateError as error:
        context.tally.problems.append(str(error))
        context.listen(Note(f"Left out: {error}"))
        return
    run(comparison, context)


def _prepare(request: Request, listen: Listener) -> Comparison:
    """Prepare a comparison, and say why where that takes long."""
    reason = Note(
        "Still getting ready. Files of the data that are new or changed are read once, to know "
        "them by their content and to find damaged ones: the next time is quicker."
    )
    timer = Timer(_PATIENCE_SECONDS, listen, [reason])
    timer.daemon = True
    timer.start()
    try:
        return prepare(request)
    finally:
        timer.cancel()


def run(comparison: Comparison, context: RunContext) -> None:
    """Compute the runs of a comparison that are not finished."""
    labels = {job.id: job.label for job in comparison.jobs}
    budgets = {job.id: job.info.budget for job in comparison.jobs if job.info.budget}
    speed_seconds = MOST_SECONDS if comparison.options.throughput else 0.0
    images = len(comparison.samples)
    context.listen(ComparisonStarted(comparison.title, labels, images, budgets, speed_seconds))
    for note in comparison.notes:
        context.listen(Note(note))
    reused = {job.id: _reused(job, comparison, context) for job in list(comparison.jobs)}
    if comparison.options.throughput and (count := _untimed(reused.values())):
        context.listen(Note(speed_unknown(count)))
    pending = [run_id for run_id, result in reused.items() if result is None]
    # the first process may have copied runs into the store meanwhile: all use its list
    pending = broadcast_from_first(pending)
    if pending:
        jobs = [job for job in comparison.jobs if job.id in pending]
        ComparisonRunner(comparison, context, jobs).run()


def _reused(job: Run, comparison: Comparison, context: RunContext) -> Result | None:
    """Return the result of a run that is finished, here or in a store beside this one; copy it."""
    if comparison.options.force:
        return None
    # later runs are compared with the unpruned one's logits, so these must be stored, too
    ids = comparison.sample_ids() if job is comparison.unpruned else None
    found = find(context.store, job.id, ids)
    if found is None:
        return None
    # how its budget was solved is known from the finished run alone
    job = comparison.settle(job.id, found.result.run.calibration)
    if is_first_process():
        take_over(context.store, found, job.info, ids)
    if found.logits is not None:
        comparison.reference = found.logits
    context.tally.reused.append(job.id)
    context.listen(RunReused(job.id, job.label, str(found.source.folder)))
    return found.result


def _untimed(results: Iterable[Result | None]) -> int:
    """Return of how many finished runs the speed is not known.

    The unpruned model is timed with the others, and has none of its own.
    """
    reduced = [result for result in results if result is not None and result.run.reduces]
    return sum(result.measured.throughput is None for result in reduced)


def read_sources() -> None:
    """Read the code of all plugins now, because files may change while a study runs."""
    plugins = registry()
    for offers in (plugins.methods, plugins.backbones, plugins.datasets, plugins.metrics):
        for offer in offers.values():
            read_source(offer.cls)


def _ignore(event: Event) -> None:
    """Drop an event: only the first process shows events."""
