"""A comparison: several methods at several costs on one model and one data set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from ..backbones.loading.loaded import LoadedModel, classes_of
from ..backbones.lookup import adapt
from ..costs import TOLERANCE
from ..data.named import build_data
from ..data.preprocessing import ImagePreparation, Preprocessed, TextPreparation, preparation
from ..dataset import DataSet
from ..errors import KeeprateError, escaped
from ..method import Method
from ..plugins.registry import registry
from ..reduction.macs import count
from ..reduction.plan import Plan, make_plan
from ..reduction.reduced_model import ReducedModel
from ..request import Cost, Options, Request
from ..results.records import CalibrationInfo, RunInfo
from .calibration import CalibrationSample, calibration_data, draw_sample
from .describe import describe, label_of, unknown_code


@dataclass(frozen=True)
class MethodAtCost:
    """One run asked for: a method at a cost."""

    method: Method
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Run:
    """One run that can start: its model, its description and a label for people."""

    model: ReducedModel
    info: RunInfo
    label: str

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.info.id


class Comparison:
    """The runs of a comparison, checked and planned but not computed: `jobs`, unpruned first.

    `request` names what was asked for, so that another machine can be asked for it; it is None if
    something has no name. `bad` are the unusable samples, with reasons, if they are known already.
    `wanted_ids` are the ids of the runs as they were asked for.
    `reference` are the unpruned model's logits (N, K) for `samples`, once they are known.
    `input_notes` tell of adapted weights and doubtful preprocessing; they go with every result.
    `unknown_code` has a line for each thing whose code cannot be compared.
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
        # the unpruned model comes first: agreement and divergence of the others refer to its logits
        plans = [
            self._make_plan(method_at_cost)
            for method_at_cost in [MethodAtCost(unpruned_method()), *wanted]
        ]
        sizes = {plan.backbone.image_size for plan in plans}
        self.prepared, self.skipped = self._prepared(prepares, bad, sizes)
        self.samples = self.prepared.samples
        self.fingerprint = data.fingerprint()
        self.calibration = self._drawn([plan for plan in plans if plan.awaits_calibration])
        self.input_notes = [*loaded.adapted, *filter(None, [prepares.note])]
        methods = [method for plan in plans for method in (plan.asked, plan.method)]
        self.unknown_code = unknown_code(self, dict.fromkeys(methods))
        jobs = [self._make_run(plan) for plan in plans]
        self.wanted_ids = [job.id for job in jobs[1:]]
        # two spellings of one schedule or budget are one run
        self.jobs = list({job.id: job for job in jobs}.values())
        budget_notes = [self._budget_note(job) for job in self.jobs]
        notes = [*self.input_notes, *data.notes(), self.prepared.note, *budget_notes]
        notes.append(self._calibration_note())
        notes += self.unknown_code
        self.notes = [note for note in dict.fromkeys(notes) if note is not None]

    @property
    def title(self) -> str:
        """The model and the data set, for people."""
        return f"{self.loaded.name} on {self.data.title}"

    @property
    def unpruned(self) -> Run:
        """The unpruned run, with which all others are compared."""
        return self.jobs[0]

    def settle(self, run_id: str, calibration: CalibrationInfo | None) -> Run:
        """Return a run, with its budget solved if it has a calibration whose result is known."""
        position = next(at for at, job in enumerate(self.jobs) if job.id == run_id)
        job = self.jobs[position]
        if calibration is not None and calibration.scale is not None:
            job.model.plan.settle(calibration.scale)
            info = describe(self, job.model.plan, calibration)
            self.jobs[position] = replace(job, info=info)
        return self.jobs[position]

    def sample_ids(self) -> list[str]:
        """Return the id of every sample, in their order."""
        samples = self.data.samples()
        return [samples[index].id for index in self.samples.indices]

    def unpruned_macs(self) -> int:
        """Return the unpruned model's mean multiply-accumulates per sample."""
        return round(self.prepared.mean(lambda size: count(self.backbone, size).total))

    def _make_plan(self, method_at_cost: MethodAtCost) -> Plan:
        method, cost = method_at_cost.method, method_at_cost.cost
        # the unpruned model stays as it was published
        empty_last_mlp = self.options.empty_last_mlp and method.reduces
        return make_plan(
            self.backbone, method, cost.schedule, cost.budget, empty_last_mlp=empty_last_mlp
        )

    def _budget_note(self, job: Run) -> str | None:
        """Return which run misses its budget and how, None if it does not."""
        plan = job.model.plan
        if plan.awaits_calibration:
            return None
        notes = [plan.note(size) for size in self.prepared.sizes]
        if not self.backbone.text_inputs:  # all images have one size
            return notes[0] and f"Run '{job.label}': {notes[0]}"
        if plan.budget is None or plan.budget.share is None:
            return None
        # texts have many lengths: only their mean has to meet the budget
        spent = self.prepared.mean(lambda size: plan.costs(size).total)
        share = spent / self.prepared.mean(lambda size: count(self.backbone, size).total)
        if abs(share / plan.budget.share - 1) <= TOLERANCE:
            return None
        return (
            f"Run '{job.label}' costs {share:.1%} of the unpruned model on these texts, "
            f"not {plan.budget.text}: where tokens are few, few costs can be reached."
        )

    def _prepared(
        self,
        sample_preparation: ImagePreparation | TextPreparation,
        known_bad: Mapping[str, str] | None,
        sizes: Collection[tuple[int, int]],
    ) -> tuple[Preprocessed, dict[str, str]]:
        samples = self.data.samples()
        bad = dict(self.data.bad_samples() if known_bad is None else known_bad)
        if bad and not self.options.skip_bad:
            lines = "".join(f"\n  {name}: {reason}" for name, reason in sorted(bad.items()))
            raise KeeprateError(
                f"{len(bad)} of {len(samples)} samples of '{self.data.name}' cannot be used "
                f"(--skip-bad leaves them out):{lines}"
            )
        unwritable = next((s.id for s in samples if escaped(s.id) != s.id), None)
        if unwritable is not None:
            raise KeeprateError(
                f"Data set '{self.data.name}' has a sample id that is not UTF-8 text: "
                f"'{escaped(unwritable)}'."
            )
        # the rows of a run find their samples by id
        if len({sample.id for sample in samples}) < len(samples):
            raise KeeprateError(f"Data set '{self.data.name}' gives several samples one id.")
        usable = [index for index, sample in enumerate(samples) if sample.id not in bad]
        limit = min(self.options.limit or len(usable), len(usable))
        # evenly spread: the first samples of a sorted folder would be of a few classes
        indices = [usable[position * len(usable) // limit] for position in range(limit)]
        self.before_part, part = len(indices), self.options.part
        if part is not None:
            indices = [index for index in indices if part.holds(samples[index].id)]
        if not indices:
            raise KeeprateError(f"Data set '{self.data.name}' has no sample that can be used.")
        return sample_preparation.prepare(indices, self.options.cache_decoded, sizes), bad

    def _make_run(self, plan: Plan) -> Run:
        model = ReducedModel(plan.backbone, plan)
        sample = self.calibration if plan.awaits_calibration else None
        info = describe(self, plan, None if sample is None else sample.info(plan))
        return Run(model, info, label_of(plan.asked, info))

    def _drawn(self, plans: Sequence[Plan]) -> CalibrationSample | None:
        """Return the sample on which these plans are solved; None without a plan."""
        if not plans:
            return None
        spec = self.options.calibration
        given = None if spec.data is None else build_data(spec.data)
        data = calibration_data(given, self.data, plans[0].method)
        sizes = {plan.backbone.image_size for plan in plans}
        return draw_sample(spec, data, self.data, (self.loaded, self.backbone), sizes)

    def _calibration_note(self) -> str | None:
        """Return which budgets are solved on which images, None if there are none."""
        names = [job.label for job in self.jobs if job.model.plan.awaits_calibration]
        if self.calibration is None:
            return None
        data, images = self.calibration.data.title, len(self.calibration.prepared.samples)
        return (
            f"Solved on {images} samples of {data}, which are not tested, so that the "
            f"mean cost is the budget: {', '.join(names)}."
        )


def unpruned_method() -> Method:
    """Return the registered method that reduces nothing.

    Raises KeeprateError if there is none (its plugin was left out).
    """
    for offer in registry().methods.values():
        if not offer.cls.reduces:
            return offer.cls()
    raise KeeprateError("No registered method stands for the unpruned model (reduces = False).")
