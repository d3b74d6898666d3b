"""A comparison: several methods at several costs on one model and one data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from .backbones import Backbone, adapt
from .budget import TOLERANCE
from .data import DataSet
from .environment import environment
from .errors import KeeprateError
from .evaluation import LoopOptions, Outcome, evaluate, is_first_process
from .method import Method
from .models import LoadedModel
from .parameters import parameters_of, values_of
from .plan import Plan, make_plan
from .plugins import registry
from .preparation import ImagePreparation, Prepared, TextPreparation, classes_of, preparation
from .reduction import ReducedModel
from .results import (
    BackboneInfo,
    DataInfo,
    Macs,
    Measured,
    Result,
    RunInfo,
    StageInfo,
    Store,
    Throughput,
)
from .ruler import count
from .sources import source_sha256
from .throughput import measure_throughput


@dataclass(frozen=True)
class Cost:
    """What a method may spend: a schedule's spelling, a budget's, or both."""

    schedule: str | None = None
    budget: str | None = None


@dataclass(frozen=True)
class Wanted:
    """One run asked for: a method at a cost."""

    method: Method
    cost: Cost = Cost()


@dataclass(frozen=True)
class Options:
    """How to run a comparison. `limit` takes that many images, evenly spread over the data set."""

    loop: LoopOptions = field(default_factory=LoopOptions)
    seed: int = 0
    limit: int | None = None
    skip_bad: bool = False
    empty_last_mlp: bool = False
    force: bool = False
    throughput: bool = True


@dataclass(frozen=True)
class Reporter:
    """Where a comparison tells what it does: one line at a time, and callbacks for the loop."""

    say: Callable[[str], None] = lambda line: None
    callbacks: Callable[[str], Sequence[Callback]] = lambda label: ()


@dataclass(frozen=True)
class Job:
    """One run ready to go: its model, its description and a label for people."""

    model: ReducedModel
    info: RunInfo
    label: str


class Comparison:
    """Everything checked and worked out, nothing computed yet: `jobs`, the unpruned one first."""

    def __init__(
        self, loaded: LoadedModel, data: DataSet, wanted: Sequence[Wanted], options: Options
    ) -> None:
        self.loaded, self.data, self.options = loaded, data, options
        self.backbone = adapt(loaded.model)
        prepares = preparation(loaded, self.backbone, data)
        data.bind(*classes_of(loaded))
        plans = [self._plan(each) for each in [Wanted(unpruned_method()), *wanted]]
        self.prepared, self.skipped = self._prepared(prepares)
        self.samples = self.prepared.samples
        self._fingerprint = data.fingerprint()
        notes = [self.prepared.note, *(self._note(plan) for plan in plans)]
        self.notes = [note for note in notes if note is not None]
        jobs = [self._job(plan) for plan in plans]
        self.jobs = list({job.info.id: job for job in jobs}.values())

    def run(self, store: Store, reporter: Reporter) -> list[Result]:
        """Run every job that is not finished in `store` and return all their results.

        A run is written as soon as it is done. Raises KeeprateError as the parts do.
        """
        store.prepare()
        for note in self.notes:
            reporter.say(f"Note: {note}")
        reference = self._reference(store, reporter)
        for job in self.jobs[1:]:
            if self.options.force or not store.has(job.info.id):
                self._run(job, store, reference, reporter)
            else:
                reporter.say(f"{job.label}: finished before, not run again (--force would)")
        return [store.read(job.info.id) for job in self.jobs if store.has(job.info.id)]

    def _plan(self, wanted: Wanted) -> Plan:
        method, cost = wanted.method, wanted.cost
        empty = self.options.empty_last_mlp and method.reduces
        return make_plan(self.backbone, method, cost.schedule, cost.budget, empty_last_mlp=empty)

    def _note(self, plan: Plan) -> str | None:
        """Say how a plan misses its budget, if it does; refuse sizes that it cannot be made for."""
        notes = [plan.note(size) for size in self.prepared.sizes]
        if not self.backbone.text_inputs:
            return notes[0]
        if plan.budget is None or plan.budget.share is None or plan.method.keeps_per_image:
            return None
        spent = self.prepared.mean(lambda size: plan.costs(size).total)
        share = spent / self.prepared.mean(lambda size: count(self.backbone, size).total)
        if abs(share / plan.budget.share - 1) <= TOLERANCE:
            return None
        return (
            f"Method '{plan.method.name}' costs {share:.1%} of the unpruned model on these texts, "
            f"not {plan.budget.text}: where tokens are few, few costs can be reached."
        )

    def _prepared(
        self, prepares: ImagePreparation | TextPreparation
    ) -> tuple[Prepared, dict[str, str]]:
        samples, bad = self.data.samples(), dict(self.data.bad_samples())
        if bad and not self.options.skip_bad:
            listed = "".join(f"\n  {name}: {reason}" for name, reason in sorted(bad.items()))
            raise KeeprateError(
                f"{len(bad)} of {len(samples)} samples of '{self.data.name}' cannot be used "
                f"(--skip-bad leaves them out):{listed}"
            )
        if len({sample.id for sample in samples}) < len(samples):
            raise KeeprateError(f"Data set '{self.data.name}' gives several samples one id.")
        good = [i for i, sample in enumerate(samples) if sample.id not in bad]
        limit = min(self.options.limit or len(good), len(good))
        chosen = [good[place * len(good) // limit] for place in range(limit)]
        if not chosen:
            raise KeeprateError(f"Data set '{self.data.name}' has no sample that can be used.")
        return prepares.prepare(chosen), bad

    def _job(self, plan: Plan) -> Job:
        model = ReducedModel(self.backbone, plan)
        info = self._describe(plan)
        return Job(model, info, _label(plan.method, info))

    def _describe(self, plan: Plan) -> RunInfo:
        method, schedule = plan.method, plan.schedule
        return RunInfo(
            method=method.name,
            method_origin=registry().methods[method.name].origin,
            method_source=source_sha256(type(method)),
            parameters=values_of(method),
            schedule="" if schedule is None else schedule.text,
            budget=None if plan.budget is None else plan.budget.text,
            stages=tuple(
                StageInfo(block=stage.block, keep=stage.keep)
                for stage in plan.stages(self.backbone.image_size)
            ),
            backbone=_backbone_info(self.loaded, self.backbone),
            data=self._data_info(),
            seed=self.options.seed,
            precision=self.options.loop.precision,
            empty_last_mlp=plan.empty_last_mlp,
            reduces=method.reduces,
        )

    def _data_info(self) -> DataInfo:
        return DataInfo(
            name=self.data.name,
            parameters=values_of(self.data),
            images=len(self.samples),
            fingerprint=self._fingerprint,
            transform=dict(self.prepared.transform),
            skipped=self.skipped,
        )

    def _reference(self, store: Store, reporter: Reporter) -> Tensor:
        """Return the unpruned logits (N, K), from the store if they are there."""
        job, ids = self.jobs[0], self._ids()
        if not self.options.force and store.has(job.info.id):
            try:
                return torch.from_numpy(store.read_logits(job.info.id, ids))
            except KeeprateError as error:
                reporter.say(f"{job.label}: runs again, its logits cannot be read ({error})")
        outcome = self._run(job, store, None, reporter)
        if is_first_process():
            store.write_logits(job.info.id, ids, outcome.logits.numpy())
        return outcome.logits

    def _ids(self) -> list[str]:
        samples = self.data.samples()
        return [samples[index].id for index in self.samples.indices]

    def _run(self, job: Job, store: Store, reference: Tensor | None, reporter: Reporter) -> Outcome:
        started = datetime.now(UTC).isoformat(timespec="seconds")
        loop = self.options.loop
        callbacks = reporter.callbacks(job.label)
        outcome = evaluate(job.model, self.samples, reference, loop, callbacks)
        if not is_first_process():
            return outcome
        measured = self._measured(job, outcome, self._throughput(job))
        store.write(
            Result(run=job.info, measured=measured, environment=environment(started, loop)),
            outcome.rows,
        )
        reporter.say(
            f"{job.label}: top-1 {measured.top1:.2%}, KL {measured.kl:.4f}, "
            f"{measured.macs.total / 1e9:.4f} GMACs, {outcome.seconds:.1f} s"
        )
        return outcome

    def _throughput(self, job: Job) -> Throughput | None:
        if not self.options.throughput or not job.info.reduces:
            return None
        loop = self.options.loop
        return measure_throughput(
            job.model,
            precision=loop.precision,
            accelerator=loop.accelerator,
            batch_size=loop.batch_size,
        )

    def _measured(self, job: Job, outcome: Outcome, throughput: Throughput | None) -> Measured:
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
                unpruned=self._unpruned_macs(),
            ),
            tokens=tuple(sum(column) / len(column) for column in zip(*tokens, strict=True)),
            wall_seconds=outcome.seconds,
            throughput=throughput,
        )

    def _unpruned_macs(self) -> int:
        """Return what the unpruned model spends on a sample, in the mean."""
        return round(self.prepared.mean(lambda size: count(self.backbone, size).total))


def unpruned_method() -> Method:
    """Return the registered method that reduces nothing.

    Raises KeeprateError if there is none (its plugin was left out).
    """
    for offer in registry().methods.values():
        if not offer.cls.reduces:
            return offer.cls()
    raise KeeprateError("No registered method stands for the unpruned model (reduces = False).")


def _label(method: Method, info: RunInfo) -> str:
    """Name a run for people: the method, the parameters that are not its defaults, the cost."""
    changed = [
        f"{parameter.name}={getattr(method, parameter.name)}"
        for parameter in parameters_of(type(method))
        if getattr(method, parameter.name) != parameter.default
    ]
    return " ".join(filter(None, [info.method, *changed, info.schedule, info.budget]))


def _backbone_info(loaded: LoadedModel, backbone: Backbone) -> BackboneInfo:
    model = loaded.model
    return BackboneInfo(
        name=loaded.name,
        cls=f"{type(model).__module__}.{type(model).__qualname__}",
        weights=loaded.weights,
        weights_sha256=loaded.weights_sha256,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        image_size=backbone.image_size,
    )
