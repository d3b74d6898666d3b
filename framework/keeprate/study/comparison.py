"""A comparison: several methods at several costs on one model and one data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..backbones.loading.loaded import LoadedModel, classes_of
from ..backbones.lookup import adapt
from ..costs import TOLERANCE
from ..data.preprocessing import ImagePreparation, Preprocessed, TextPreparation, preparation
from ..dataset import DataSet
from ..errors import KeeprateError
from ..method import Method
from ..plugins.registry import registry
from ..reduction.macs import count
from ..reduction.plan import Plan, make_plan
from ..reduction.reduced_model import ReducedModel
from ..request import Cost, Options, Request
from ..results.records import RunInfo
from .describe import describe, label_of


@dataclass(frozen=True)
class MethodAtCost:
    """One run asked for: a method at a cost."""

    method: Method
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Run:
    """One run ready to go: its model, its description and a label for people."""

    model: ReducedModel
    info: RunInfo
    label: str

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.info.id


class Comparison:
    """Everything checked and worked out, nothing computed yet: `jobs`, the unpruned one first.

    `request` is what was asked for by name, if it was, so that it can be asked for on another
    machine; `bad` are its unusable samples, with reasons, where they were looked for before.
    `reference` are the unpruned model's logits (N, K) for `samples`, once they are known.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        data: DataSet,
        wanted: Sequence[MethodAtCost],
        options: Options,
        request: Request | None = None,
        bad: Mapping[str, str] | None = None,
    ) -> None:
        self.loaded, self.data, self.options = loaded, data, options
        self.request = request
        self.reference: NDArray[Any] | None = None
        self.backbone = adapt(loaded.model)
        prepares = preparation(loaded, self.backbone, data)
        data.bind(*classes_of(loaded))
        plans = [self._plan(each) for each in [MethodAtCost(unpruned_method()), *wanted]]
        self.prepared, self.skipped = self._prepared(prepares, bad)
        self.samples = self.prepared.samples
        self.fingerprint = data.fingerprint()
        notes = [self.prepared.note, *(self._note(plan) for plan in plans)]
        self.notes = [note for note in dict.fromkeys(notes) if note is not None]
        jobs = [self._job(plan) for plan in plans]
        self.jobs = list({job.id: job for job in jobs}.values())

    @property
    def title(self) -> str:
        """The model and the data set, for people."""
        return f"{self.loaded.name} on {self.data.name}"

    @property
    def unpruned(self) -> Run:
        """The run that all others are compared with."""
        return self.jobs[0]

    def sample_ids(self) -> list[str]:
        """Return the id of every sample, in their order."""
        samples = self.data.samples()
        return [samples[index].id for index in self.samples.indices]

    def unpruned_macs(self) -> int:
        """Return what the unpruned model spends on a sample, in the mean."""
        return round(self.prepared.mean(lambda size: count(self.backbone, size).total))

    def _plan(self, wanted: MethodAtCost) -> Plan:
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
        self, prepares: ImagePreparation | TextPreparation, known: Mapping[str, str] | None
    ) -> tuple[Preprocessed, dict[str, str]]:
        samples = self.data.samples()
        bad = dict(self.data.bad_samples() if known is None else known)
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
        return prepares.prepare(chosen, self.options.cache_decoded), bad

    def _job(self, plan: Plan) -> Run:
        model = ReducedModel(self.backbone, plan)
        info = describe(self, plan)
        return Run(model, info, label_of(plan.method, info))


def unpruned_method() -> Method:
    """Return the registered method that reduces nothing.

    Raises KeeprateError if there is none (its plugin was left out).
    """
    for offer in registry().methods.values():
        if not offer.cls.reduces:
            return offer.cls()
    raise KeeprateError("No registered method stands for the unpruned model (reduces = False).")
