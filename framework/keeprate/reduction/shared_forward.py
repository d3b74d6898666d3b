"""Computes several runs of one model on one batch, and the blocks that they share only once."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import OutOfMemoryError, Tensor

from .._value_checks import AT_ONCE, ValueChecks, checks_of_pass, not_found_again
from ..backbone import Inputs
from ..engine import RunError
from ..errors import KeeprateError
from ..method import Stage
from ..plugins.parameters import values_of
from ..tokens import Tokens
from .batches import in_order
from .input_sizes import fitted
from .macs import (
    Passage,
    acting_stages,
    head_macs,
    shape_of,
    stage_macs,
    tokens_per_block,
)
from .method_calls import refuse_stateful
from .reduced_model import ReducedModel
from .trace import ForwardTrace

# what the allocators of torch say in a plain RuntimeError
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass
class Outputs:
    """Results of a batch: `logits` (B, K) by run, and the error of each run that failed."""

    logits: dict[str, Tensor] = field(default_factory=dict)
    failed: dict[str, RunError] = field(default_factory=dict)


@dataclass(frozen=True)
class _SharedPass:
    """State of one part of a batch in the blocks: `stages` and finished `logits` of each run."""

    stages: Mapping[str, Mapping[int, Stage]]
    logits: dict[str, Tensor]
    failed: dict[str, RunError]


class SharedForward:
    """Runs reduced models of one model together; their blocks form a tree with a common trunk.

    Runs share blocks until they reduce their tokens differently; equal first stages of one method
    are shared, too. Every run performs exactly the operations that it would perform alone, in the
    same order, so its logits have the same bits. One branch is finished before the next begins, so
    only the tokens at the open forks stay in memory, for any number of runs.
    """

    def __init__(self, models: Mapping[str, ReducedModel]) -> None:
        self.models = dict(models)
        self._keys = {name: _method_key(model) for name, model in models.items()}

    def __call__(self, inputs: Inputs, index: Tensor, names: Sequence[str]) -> Outputs:
        """Return the logits of the runs `names` for one batch, or the errors of those that failed.

        `index` (B,) are the images' numbers in their data set. What the checks found is read once,
        after all runs; if there is anything, the batch is computed again with a look at each value,
        which tells whose fault it is. Raises OutOfMemoryError when memory runs out; any other error
        belongs to the runs in which it happened.
        """
        checks = checks_of_pass(wanted=True)
        outputs = self._compute(inputs, index, names, checks)
        if checks.any_failed():
            outputs = self._compute(inputs, index, names, AT_ONCE)
            if not outputs.failed:
                outputs = Outputs()
                _record_failure(names, not_found_again(), outputs.failed)
        return outputs

    def _compute(
        self, inputs: Inputs, index: Tensor, names: Sequence[str], checks: ValueChecks
    ) -> Outputs:
        outputs = Outputs()
        for name in names:
            self.models[name].records = []
        for group in self._by_backbone(names):
            try:
                self._run(inputs, index, group, outputs, checks)
            except Exception as error:
                refuse_out_of_memory(error)
                _record_failure(group, error, outputs.failed)
        # a run may fail in one part of a batch after another part was finished
        outputs.logits = {
            name: logits for name, logits in outputs.logits.items() if name not in outputs.failed
        }
        return outputs

    def _by_backbone(self, names: Sequence[str]) -> list[list[str]]:
        """Group the runs whose model is the same: at another size of its input it is another."""
        groups: dict[int, list[str]] = {}
        for name in names:
            groups.setdefault(id(self.models[name].backbone), []).append(name)
        return list(groups.values())

    def _run(
        self,
        inputs: Inputs,
        index: Tensor,
        names: Sequence[str],
        outputs: Outputs,
        checks: ValueChecks,
    ) -> None:
        first = self.models[names[0]]
        parts, part_logits = first.parts(fitted(inputs, first.plan), index), []
        for rows, part, images in parts:
            tokens, record = first.begin(part, rows, images, checks)
            stages = {name: self.models[name].stages_by_block(record) for name in names}
            shared_pass = _SharedPass(stages, {}, outputs.failed)
            self._descend(names, 0, tokens, record, shared_pass)
            part_logits.append(shared_pass.logits)
        order = [rows for rows, _, _ in parts]
        for name in names:
            if name not in outputs.failed:
                outputs.logits[name] = in_order([logits[name] for logits in part_logits], order)

    def _descend(
        self,
        names: Sequence[str],
        start: int,
        tokens: Tokens,
        record: ForwardTrace,
        shared_pass: _SharedPass,
    ) -> None:
        """Run the blocks from `start` for runs whose tokens are equal up to there."""
        depth = self.models[names[0]].backbone.depth
        for block in range(start, depth):
            forks = self._forks(names, block, tokens, shared_pass)
            if len(forks) > 1:
                self._fork(forks, block, tokens, record, shared_pass)
                return
            model, stage = self.models[names[0]], shared_pass.stages[names[0]].get(block)
            attributes = dict(vars(model.method))
            tokens = model.run_block(block, tokens, stage, record)
            refuse_stateful(model.method, attributes)
        for name in names:
            shared_pass.logits[name] = self.models[name].finish(tokens, record)

    def _fork(
        self,
        forks: Sequence[list[str]],
        block: int,
        tokens: Tokens,
        record: ForwardTrace,
        shared_pass: _SharedPass,
    ) -> None:
        """Run each branch to its end; a branch that raises does not stop the others."""
        for branch in forks:
            # a method may write into its tokens, so that all but the last branch get a copy
            branch_tokens = tokens if branch is forks[-1] else tokens.copy()
            try:
                self._descend(branch, block, branch_tokens, record.fork(), shared_pass)
            except Exception as error:
                refuse_out_of_memory(error)
                _record_failure(branch, error, shared_pass.failed)

    def _forks(
        self, names: Sequence[str], block: int, tokens: Tokens, shared_pass: _SharedPass
    ) -> list[list[str]]:
        """Group the runs that do the same at `block`."""
        groups: dict[tuple[object, ...], list[str]] = {}
        for name in names:
            model, stage = self.models[name], shared_pass.stages[name].get(block)
            last = block == model.backbone.depth - 1
            acting = stage if model.removes(tokens, stage) else None
            acts = model.acts(block, tokens, stage)
            action = (self._keys[name], acting) if acts else ()
            key = (*action, last and model.plan.empty_last_mlp)
            groups.setdefault(key, []).append(name)
        return list(groups.values())


def shared_macs(models: Sequence[ReducedModel], size: tuple[int, int]) -> int:
    """Return the multiply-accumulates of one image of `size` in all runs; shared blocks count once.

    A method that keeps a different number of tokens in every image counts with its largest number.
    """
    embedding: dict[int, int] = {}
    blocks: dict[tuple[object, ...], int] = {}
    heads = 0
    for model in models:
        seen, backbone = model.plan.runs_at(size), model.backbone
        tokens = _token_counts(model, seen)
        embedding[id(backbone)] = backbone.embed_macs(seen)
        blocks.update(_block_macs(model, seen, tokens))
        heads += int(head_macs(backbone, tokens.pooled))
    return sum(embedding.values()) + sum(blocks.values()) + heads


def _token_counts(model: ReducedModel, size: tuple[int, int]) -> Passage:
    plan, backbone = model.plan, model.backbone
    stages, empty = plan.most(size), plan.empty_last_mlp
    patches = backbone.num_patches(size)
    return tokens_per_block(backbone, patches, model.method, stages, empty_last_mlp=empty)


def _block_macs(
    model: ReducedModel, size: tuple[int, int], tokens: Passage
) -> dict[tuple[object, ...], int]:
    """Return the cost of each block; its key holds all that the run did to its tokens before."""
    backbone, key = model.backbone, _method_key(model)
    costs: dict[tuple[object, ...], int] = {}
    patches = backbone.num_patches(size)
    acting = acting_stages(model.method, model.plan.most(size), backbone.depth, patches)
    entering = {stage.block: (left, stage) for left, stage in acting}
    # what a method does before the first block, or to every block, no other method shares
    reductions: list[object] = [key] if model.starts_apart else []
    for block, (attended, fed) in enumerate(
        zip(tokens.attention, tokens.feed_forward, strict=True)
    ):
        cost = backbone.block_cost(block)
        macs = cost.attention_per_token * attended + cost.per_pair * attended**2
        macs += cost.mlp_per_token * fed + cost.fixed
        if block == 0:
            macs += model.method.prepare_macs(shape_of(backbone, patches))
        if block in entering:
            left, stage = entering[block]
            macs += stage_macs(backbone, model.method, left, stage)
            reductions.append((key, stage))
        last = block == backbone.depth - 1
        costs[id(backbone), block, tuple(reductions), last and model.plan.empty_last_mlp] = macs
    return costs


def _method_key(model: ReducedModel) -> tuple[type, str]:
    """Return a key that is equal for methods that do the same at equal stages."""
    method = model.method
    return type(method), json.dumps(values_of(method), sort_keys=True)


def _record_failure(names: Iterable[str], error: Exception, failed: dict[str, RunError]) -> None:
    for name in names:
        # the first error is the cause
        failed.setdefault(name, run_error(error))


def run_error(error: Exception) -> RunError:
    """Return an error as that of a run, its message in one line, as it is shown."""
    message = " ".join(str(error).split())
    kind = "" if isinstance(error, KeeprateError) else f"{type(error).__name__}: "
    return RunError(f"{kind}{message}", "".join(traceback.format_exception(error)))


def refuse_out_of_memory(error: Exception) -> None:
    """Raise the error again, as OutOfMemoryError, if it says that memory ran out."""
    if isinstance(error, OutOfMemoryError):
        raise error
    if isinstance(error, MemoryError | RuntimeError):
        message = str(error).lower()
        if isinstance(error, MemoryError) or any(words in message for words in _NO_MEMORY):
            raise OutOfMemoryError(str(error) or "out of memory") from error
