"""A model that reduces its tokens: called like the original, images in and logits out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from .._value_checks import (
    AT_ONCE,
    ValueChecks,
    checks_of_pass,
    not_found_again,
)
from ..attention import Attention, Reweighing
from ..backbone import Backbone, Inputs
from ..errors import KeeprateError
from ..method import Method, Place, Stage
from ..tokens import Tokens, at_least_float32
from .attention_reader import AttentionReader, LookedAhead
from .batches import batch_size, in_order
from .described_model import DescribedModel
from .export import refuse_to_export, refuse_torchscript
from .input_sizes import embedded, fitted
from .macs import shape_of
from .method_calls import checked_reduce, refuse_checkpointing, refuse_hooked, score_in_chunks
from .model_code import CodeWatch
from .plan import Plan
from .state_calls import (
    checked_key_weights,
    checked_observe,
    checked_prepare,
    checked_weights,
)
from .trace import (
    ForwardTrace,
    Reduction,
)


class ReducedModel(DescribedModel):
    """A backbone whose tokens a method reduces at the stages of a plan.

    Call it with images (B, 3, H, W), or with the output of a tokenizer, to get logits (B, K).
    Afterwards `token_counts`, `macs_per_image` and, with `trace`, `survivors` describe the last
    call. The constructor runs nothing: callers with a model that is not yet proved must call
    `keeprate.reduction.proof.require_proof` first, as `reduce` does.
    """

    prove: ClassVar[Callable[[Backbone], None]]
    """Proves a backbone whose code has changed; `proof` sets it, as it runs reduced models."""

    def __init__(
        self, backbone: Backbone, plan: Plan, *, trace: bool = False, check_values: bool = True
    ) -> None:
        super().__init__(backbone, plan, trace=trace)
        self.check_values = check_values
        """Whether the values that a method computes are looked at, after every call."""
        self._code = CodeWatch(backbone.model)
        self.watch: Callable[[Tokens, Attention, Stage], object] | None = None
        """A function called at every stage with the method's arguments, before it reduces."""

    def forward(
        self, inputs: Inputs | None = None, index: Tensor | None = None, **named: Tensor
    ) -> Tensor:
        """Return logits (B, K) for images (B, 3, H, W), or for tensors by name with B rows each.

        Tensors may be named as the model names them: `reduced(pixel_values=images)`,
        `reduced(**tokenizer(texts, return_tensors="pt", padding=True))`. `index` (B,) int64, the
        images' numbers in their data set, makes random methods give the same results in any batch;
        it defaults to 0, 1, 2, ... Texts of different lengths run at their own lengths, each with
        the schedule for its length. Where the method makes the input smaller, images of the
        model's own size are resized (bicubic, antialiased); those of the smaller size are taken as
        they are.

        Raises KeeprateError for a fault of the method. Its values are looked at when the logits are
        computed, all together, so that nothing before waits for the device; if one is wrong, the
        batch is computed again with a look at each. A compiled model looks at none.
        """
        inputs = fitted(named if inputs is None else inputs, self.plan)
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            refuse_torchscript("torch.jit.trace, and torch.onnx.export with dynamo=False,")
        refuse_to_export(self.method)
        checks = checks_of_pass(wanted=self.check_values)
        if not checks.looks:
            return self.compute(inputs, index, checks)
        try:
            logits = self.compute(inputs, index, checks)
        except Exception:
            if not checks.any_failed():
                raise
        else:
            if not checks.any_failed():
                return logits
        self.compute(inputs, index, AT_ONCE)
        raise not_found_again()

    def compute(self, inputs: Inputs, index: Tensor | None, checks: ValueChecks) -> Tensor:
        """Return the logits (B, K); what `checks` finds is for the caller to read."""
        self.records = []
        logits, parts = [], self.parts(inputs, index)
        for rows, part, images in parts:
            tokens, record = self.begin(part, rows, images, checks)
            stages = self.stages_by_block(record)
            for block in range(self.backbone.depth):
                tokens = self.run_block(block, tokens, stages.get(block), record)
            logits.append(self.finish(tokens, record))
        return in_order(logits, [rows for rows, _, _ in parts])

    def parts(
        self, inputs: Inputs, index: Tensor | None
    ) -> list[tuple[Tensor, Inputs, Tensor | None]]:
        """Split a batch into inputs of one size, each with its rows and its share of `index`."""
        batch = batch_size(inputs)
        all_rows = torch.arange(batch)
        # at every call, because a hook may be registered at any time
        refuse_hooked(self.backbone)
        if self.training and torch.is_grad_enabled():
            refuse_checkpointing(self.model)
        self._prove_again()
        if index is not None and index.shape[0] != batch:
            raise KeeprateError(f"index names {len(index)} images of a batch of {batch}.")
        return [
            (rows, part, None if index is None else index[rows.to(index.device)])
            for rows, part in self.backbone.parts(inputs) or [(all_rows, inputs)]
        ]

    def _prove_again(self) -> None:
        """Prove the model's code if somebody changed it since the last call."""
        if not torch.compiler.is_compiling() and self._code.has_changed():
            type(self).prove(self.backbone)
            self._code.accept()

    def begin(
        self, inputs: Inputs, rows: Tensor, index: Tensor | None, checks: ValueChecks = AT_ONCE
    ) -> tuple[Tokens, ForwardTrace]:
        """Embed inputs of one size, the `rows` of the batch, and start their trace."""
        image_size = self.backbone.input_size(inputs)
        self.plan.stages(image_size)  # refuses an impossible size before it is embedded
        x = embedded(self.backbone, inputs, image_size)
        row = 1, x.shape[1] - self.backbone.num_prefix
        tokens = Tokens.of(
            x,
            num_prefix=self.backbone.num_prefix,
            has_class_token=self.backbone.has_class_token,
            # a copy of this kind waits for nothing that the device does
            image=(rows if index is None else index).to(x.device, non_blocking=True),
            trace=self.trace,
            follows_positions=self.backbone.follows_positions,
            context=self.backbone.context(inputs),
            grid=row if self.backbone.text_inputs else self.backbone.grid(image_size),
        )
        tokens = replace(tokens, value_checks=checks)
        return tokens, ForwardTrace(rows, image_size, tokens.owner)

    def stages_by_block(self, record: ForwardTrace) -> dict[int, Stage]:
        """Return the stages for the inputs of a trace, by block."""
        return {stage.block: stage for stage in self.plan.stages(record.image_size)}

    def finish(self, tokens: Tokens, record: ForwardTrace) -> Tensor:
        """Store the trace and return the logits of the remaining tokens."""
        self.records.append(record)
        return self.backbone.classify(tokens, self._mask(tokens))

    def run_block(
        self, block: int, tokens: Tokens, stage: Stage | None, record: ForwardTrace
    ) -> Tokens:
        """Run one block with its stage, if it has one, and record it in the trace."""
        place = self.method.place
        if block == 0 and self._defines("prepare"):
            tokens = checked_prepare(self.method, tokens)
            shape = shape_of(self.backbone, tokens.num_patch_tokens)
            record.prepared = self.method.prepare_macs(shape)
        stage = self._stage(block, tokens, stage)
        if stage is not None and place is Place.BEFORE_BLOCK:
            tokens = self._reduce(tokens, self._look_ahead(block, tokens, stage), stage, record)
        record.attention.append(tokens.counts)
        tokens, reader = self._attend(block, tokens, stage)
        if stage is not None and place is Place.AFTER_ATTENTION:
            tokens = self._reduce(tokens, reader.seen, stage, record)
        # no later attention reads the patch tokens, so their last MLP changes no logits
        if self.plan.empty_last_mlp and block == self.backbone.depth - 1:
            tokens = replace(tokens, aside=None, sets_aside=False).keep_top(tokens.size, 0)
        record.feed_forward.append(tokens.counts)
        tokens = tokens.with_x(self.backbone.feed_forward(block, tokens.x))
        if stage is not None and place is Place.AFTER_BLOCK:
            tokens = self._reduce(tokens, reader.seen, stage, record)
        if tokens.aside is not None and block + 1 in (*self.method.back, self.backbone.depth):
            tokens = tokens.bring_back()
            record.note(block, tokens, came_back=True)
        record.after.append(tokens.counts)
        return tokens

    def removes(self, tokens: Tokens, stage: Stage | None) -> bool:
        """Tell whether a stage has anything to remove."""
        if stage is None:
            return False
        return self.method.keeps_per_image or stage.keep < tokens.num_patch_tokens

    def acts(self, block: int, tokens: Tokens, stage: Stage | None) -> bool:
        """Tell whether a block differs from the plain model's: runs that act alike share it."""
        return (block == 0 and self.starts_apart) or self.removes(tokens, stage)

    @property
    def starts_apart(self) -> bool:
        """Whether the run differs from the plain model's from the first block on."""
        apart = self._defines("prepare") or self._defines("key_weights")
        return apart or self.method.observes or self.method.reweighs

    def _defines(self, name: str) -> bool:
        return getattr(type(self.method), name) is not getattr(Method, name)

    def _stage(self, block: int, tokens: Tokens, stage: Stage | None) -> Stage | None:
        """Return the stage at which the method is called at a block, None if it is not."""
        # the block then computes exactly what the plain model computes
        if self.removes(tokens, stage):
            return stage
        if not self.method.observes:
            return None
        return Stage(block, tokens.num_patch_tokens, self.backbone.depth)

    def _attend(
        self, block: int, tokens: Tokens, stage: Stage | None
    ) -> tuple[Tokens, AttentionReader]:
        reads = stage is not None and self.method.place is not Place.BEFORE_BLOCK
        reader = self._reader(tokens, stage if reads else None)
        attended = self.backbone.attend(block, tokens, reader)
        return replace(tokens, x=attended, reused=None), reader

    def _look_ahead(self, block: int, tokens: Tokens, stage: Stage) -> Attention:
        """Return the attention that a block would compute of `tokens`, without its output."""
        reader = self._reader(tokens, stage, ahead=True)
        with suppress(LookedAhead):
            self.backbone.attend(block, tokens, reader)
        return reader.seen

    def _reader(
        self, tokens: Tokens, stage: Stage | None, *, ahead: bool = False
    ) -> AttentionReader:
        method, reweigh = self.method, partial(checked_weights, self.method)
        return AttentionReader(
            tokens,
            self._mask(tokens),
            None if stage is None else method,
            stage,
            maps=self.backbone.maps,
            reweighing=Reweighing(reweigh, tokens) if method.reweighs else None,
            ahead=ahead,
        )

    def _reduce(
        self, tokens: Tokens, attention: Attention, stage: Stage, record: ForwardTrace
    ) -> Tokens:
        # these scores need the tokens that the whole block returns, which exist only now
        if self.method.scores_block_output:
            attention.given_score = score_in_chunks(self.method, tokens, attention, stage)
        if self.method.observes:
            tokens = checked_observe(self.method, tokens, attention, stage)
        reduced = tokens
        if self.removes(tokens, stage):
            if self.watch is not None:
                self.watch(tokens, attention, stage)
            if self.method.skips:
                tokens = replace(tokens, sets_aside=True)
            reduced = checked_reduce(self.method, tokens, attention, stage)
            record.note(stage.block, reduced)
        record.reductions.append(Reduction(stage, tokens.counts, reduced.counts))
        return reduced

    def _mask(self, tokens: Tokens) -> Tensor | None:
        """Return what is added to the attention logits of every key, (B, 1, 1, N), or None."""
        weights = checked_key_weights(self.method, tokens)
        if weights is None and tokens.valid is None:
            return None
        exact = at_least_float32(tokens.x.dtype)
        bias = torch.zeros_like(tokens.size) if weights is None else weights.to(exact).log()
        if tokens.valid is not None:
            bias = bias.masked_fill(~tokens.valid, -torch.inf)
        return bias[:, None, None, :].to(tokens.x.dtype)
