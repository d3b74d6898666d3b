"""Several runs of one model on one batch: what they share is computed once."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import OutOfMemoryError, Tensor

from ..backbone import Inputs
from ..engine import RunError
from ..errors import KeeprateError
from ..method import Stage
from ..plugins.parameters import values_of
from ..tokens import Tokens
from .macs import Passage, head_macs, shape_of, tokens_per_block
from .method_calls import refuse_stateful
from .reduced_model import ReducedModel, in_order
from .trace import ForwardTrace

_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass
class Outputs:
    """What a batch gave: `logits` (B, K) by run, and the runs that raised, with the reason."""

    logits: dict[str, Tensor] = field(default_factory=dict)
    failed: dict[str, RunError] = field(default_factory=dict)


@dataclass(frozen=True)
class _SharedPass:
    """One part of a batch on its way through the blocks: `stages` of each run, logits so far."""

    stages: Mapping[str, Mapping[int, Stage]]
    logits: dict[str, Tensor]
    failed: dict[str, RunError]


class SharedForward:
    """Runs reduced models of one backbone together, as a tree whose trunk they have in common.

    Runs go together until one of them reduces its tokens and another does not, or does it in
    another way; equal leading stages of one method are shared, too. Every run sees exactly the
    operations that it would see alone, in the same order, so that its logits are the same bits.
    One branch is finished before the next begins: however many runs there are, only the tokens at
    the forks on the way are kept.
    """

    def __init__(self, models: Mapping[str, ReducedModel]) -> None:
        self.models = dict(models)
        self._keys = {name: _key(model) for name, model in models.items()}

    def __call__(self, inputs: Inputs, index: Tensor, names: Sequence[str]) -> Outputs:
        """Return the logits of the runs `names` for one batch, or why they failed.

        `index` (B,) are the images' numbers in their data set. Raises what the memory's end raises;
        any other error is that of the runs it happened to.
        """
        outputs = Outputs()
        for name in names:
            self.models[name].records = []
        try:
            self._run(inputs, index, names, outputs)
        except Exception as error:
            refuse_out_of_memory(error)
            _fail(names, error, outputs.failed)
        outputs.logits = {k: v for k, v in outputs.logits.items() if k not in outputs.failed}
        return outputs

    def _run(self, inputs: Inputs, index: Tensor, names: Sequence[str], outputs: Outputs) -> None:
        first = self.models[names[0]]
        parts, found = first.parts(inputs, index), []
        for rows, part, images in parts:
            tokens, record = first.begin(part, rows, images)
            stages = {name: self.models[name].stages_by_block(record) for name in names}
            walk = _SharedPass(stages, {}, outputs.failed)
            self._descend(names, 0, tokens, record, walk)
            found.append(walk.logits)
        order = [rows for rows, _, _ in parts]
        for name in names:
            if name not in outputs.failed:
                outputs.logits[name] = in_order([part[name] for part in found], order)

    def _descend(
        self,
        names: Sequence[str],
        start: int,
        tokens: Tokens,
        record: ForwardTrace,
        walk: _SharedPass,
    ) -> None:
        """Take runs whose tokens are the same so far through the blocks from `start`."""
        depth = self.models[names[0]].backbone.depth
        for block in range(start, depth):
            forks = self._forks(names, block, tokens, walk)
            if len(forks) > 1:
                self._fork(forks, block, tokens, record, walk)
                return
            model, stage = self.models[names[0]], walk.stages[names[0]].get(block)
            before = dict(vars(model.method))
            tokens = model.run_block(block, tokens, stage, record)
            refuse_stateful(model.method, before)
        for name in names:
            walk.logits[name] = self.models[name].finish(tokens, record)

    def _fork(
        self,
        forks: Sequence[list[str]],
        block: int,
        tokens: Tokens,
        record: ForwardTrace,
        walk: _SharedPass,
    ) -> None:
        """Take each branch to its end; one that raises does not stop the others."""
        for branch in forks:
            ours = tokens if branch is forks[-1] else tokens.copy()  # whatever it does to them
            try:
                self._descend(branch, block, ours, record.fork(), walk)
            except Exception as error:
                refuse_out_of_memory(error)
                _fail(branch, error, walk.failed)

    def _forks(
        self, names: Sequence[str], block: int, tokens: Tokens, walk: _SharedPass
    ) -> list[list[str]]:
        """Split runs by what they do at `block`."""
        groups: dict[tuple[object, ...], list[str]] = {}
        for name in names:
            model, stage = self.models[name], walk.stages[name].get(block)
            acts = stage is not None and model.removes(tokens, stage)
            last = block == model.backbone.depth - 1
            does = (self._keys[name], stage) if acts else ()
            key = (*does, last and model.plan.empty_last_mlp)
            groups.setdefault(key, []).append(name)
        return list(groups.values())


def shared_macs(models: Sequence[ReducedModel]) -> int:
    """Return the multiply-accumulates of one image in all runs together, what they share once.

    Of a method that keeps a different number of tokens in every image the most is counted.
    """
    backbone = models[0].backbone
    size = backbone.image_size
    blocks: dict[tuple[object, ...], int] = {}
    total = backbone.embed_macs(size)
    for model in models:
        tokens = _passage(model, size)
        blocks.update(_blocks(model, size, tokens))
        total += int(head_macs(backbone, tokens.pooled))
    return total + sum(blocks.values())


def _passage(model: ReducedModel, size: tuple[int, int]) -> Passage:
    plan, backbone = model.plan, model.backbone
    stages, empty = plan.stages(size), plan.empty_last_mlp
    patches = backbone.num_patches(size)
    return tokens_per_block(backbone, patches, model.method.place, stages, empty_last_mlp=empty)


def _blocks(
    model: ReducedModel, size: tuple[int, int], tokens: Passage
) -> dict[tuple[object, ...], int]:
    """Return what each block costs, by all that the run has done to its tokens up to there."""
    backbone, key = model.backbone, _key(model)
    found: dict[tuple[object, ...], int] = {}
    stages = {stage.block: stage for stage in model.plan.stages(size)}
    left, done = backbone.num_patches(size), []
    for block, (attended, fed) in enumerate(
        zip(tokens.attention, tokens.feed_forward, strict=True)
    ):
        cost, stage = backbone.block_cost(block), stages.get(block)
        macs = cost.attention_per_token * attended + cost.per_pair * attended**2
        macs += cost.mlp_per_token * fed + cost.fixed
        if stage is not None and stage.keep < left:
            macs += model.method.overhead_macs(shape_of(backbone, left), stage)
            done.append((key, stage))
            left = stage.keep
        last = block == backbone.depth - 1
        found[block, tuple(done), last and model.plan.empty_last_mlp] = macs
    return found


def _key(model: ReducedModel) -> tuple[type, str]:
    """Equal for methods that do the same at equal stages."""
    method = model.method
    return type(method), json.dumps(values_of(method), sort_keys=True)


def _fail(names: Iterable[str], error: Exception, failed: dict[str, RunError]) -> None:
    said = " ".join(str(error).split())
    kind = "" if isinstance(error, KeeprateError) else f"{type(error).__name__}: "
    trace = "".join(traceback.format_exception(error))
    for name in names:
        failed.setdefault(name, RunError(f"{kind}{said}", trace))


def refuse_out_of_memory(error: Exception) -> None:
    """Raise the error again, as OutOfMemoryError, if it says that the memory does not suffice."""
    if isinstance(error, OutOfMemoryError):
        raise error
    if isinstance(error, MemoryError | RuntimeError):
        said = str(error).lower()
        if isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY):
            raise OutOfMemoryError(str(error) or "out of memory") from error
