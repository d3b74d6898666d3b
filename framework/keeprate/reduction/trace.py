"""Records of a forward pass of a reduced model: tokens per block, costs, where patches went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backbone import Backbone
from ..method import Method, Stage
from ..tokens import Tokens
from .macs import (
    attention_macs,
    block_costs,
    fixed_macs,
    head_macs,
    mlp_macs,
    projections_macs,
    stage_macs,
)


@dataclass(frozen=True)
class Survivors:
    """Where the patches of the input are after one stage, or once tokens `came_back` after it.

    `owner` (B, P) int64 gives for every patch of the image the position of its token in the
    sequence that leaves the stage, -1 if it was dropped, and below -1 if its token is aside.
    Patches with the same owner have merged.
    """

    block: int
    owner: Tensor
    came_back: bool = False

    @property
    def moment(self) -> tuple[int, bool]:
        """What such records are in the order of: what comes back does so after the stage."""
        return self.block, self.came_back


@dataclass(frozen=True)
class MacsPerImage:
    """Multiply-accumulates of each image of a batch, int64 (B,) on the CPU."""

    model: Tensor
    overhead: Tensor

    @property
    def total(self) -> Tensor:
        """Model and method together."""
        return self.model + self.overhead


@dataclass(frozen=True)
class Reduction:
    """A call of the method at a stage: the tokens that entered and left, prefix included."""

    stage: Stage
    entering: int | Tensor
    left: int | Tensor


@dataclass
class ForwardTrace:
    """Token counts of each half block in one part of a forward pass, whose images have one size.

    `rows` (B,) int64 are the part's rows in the batch, `owner` (B, P) the positions of the patches
    before the first stage (None unless traced).
    """

    rows: Tensor
    image_size: tuple[int, int]
    owner: Tensor | None = None
    attention: list[int | Tensor] = field(default_factory=list)
    feed_forward: list[int | Tensor] = field(default_factory=list)
    after: list[int | Tensor] = field(default_factory=list)
    prepared: int = 0
    """Multiply-accumulates of the method before the first block."""
    reductions: list[Reduction] = field(default_factory=list)
    survivors: list[Survivors] = field(default_factory=list)

    def fork(self) -> ForwardTrace:
        """Return a copy for another branch; both can then be continued independently."""
        return replace(
            self,
            attention=list(self.attention),
            feed_forward=list(self.feed_forward),
            after=list(self.after),
            reductions=list(self.reductions),
            survivors=list(self.survivors),
        )

    def note(self, block: int, tokens: Tokens, *, came_back: bool = False) -> None:
        """Record where the patches are in tokens that leave a stage, if they are traced."""
        if tokens.owner is not None:
            self.survivors.append(Survivors(block, tokens.owner, came_back))

    def per_image(self, number: int | Tensor) -> Tensor:
        """Return `number` for each image, int64 (B,) on the CPU."""
        if isinstance(number, Tensor):
            # one wait for the device after the pass, not one at every block
            return number.cpu()
        return torch.full((len(self.rows),), number)

    def counts(self) -> Tensor:
        """Return the tokens after each block, prefix included: int64 (B, depth)."""
        return torch.stack([self.per_image(tokens) for tokens in self.after], dim=1)

    def model_macs(self, backbone: Backbone) -> Tensor:
        """Return the multiply-accumulates of the model for each image, int64 (B,)."""
        blocks = block_costs(backbone)
        return self.per_image(
            projections_macs(blocks, self.attention)
            + attention_macs(blocks, self.attention)
            + mlp_macs(blocks, self.feed_forward)
            + head_macs(backbone, self.after[-1])
            + fixed_macs(blocks)
            + backbone.embed_macs(self.image_size)
        )

    def overhead_macs(self, backbone: Backbone, method: Method) -> Tensor:
        """Return the multiply-accumulates of the method for each image, int64 (B,)."""
        spent = self.per_image(self.prepared)
        for reduction in self.reductions:
            spent = spent + self._stage_macs(backbone, method, reduction)
        return spent

    def _stage_macs(self, backbone: Backbone, method: Method, reduction: Reduction) -> int | Tensor:
        stage, prefix = reduction.stage, backbone.num_prefix
        if not method.keeps_per_image:
            return stage_macs(backbone, method, int(reduction.entering) - prefix, stage)
        counts = torch.stack([self.per_image(reduction.entering), self.per_image(reduction.left)])
        entering, left = (counts - prefix).tolist()
        keeps = [replace(stage, keep=patches - method.appends) for patches in left]
        pairs = zip(entering, keeps, strict=True)
        return torch.tensor([stage_macs(backbone, method, *pair) for pair in pairs])


def gathered(records: Sequence[ForwardTrace], column: Callable[[ForwardTrace], Tensor]) -> Tensor:
    """Return a column (B, ...) of all parts in the order of the batch."""
    order = torch.cat([record.rows for record in records]).argsort()
    return torch.cat([column(record) for record in records])[order]


def gathered_survivors(records: Sequence[ForwardTrace]) -> list[Survivors]:
    """Return the survivors of all parts in the order of the batch, for each stage of any part.

    Rows are as long as those of the part with most patches; missing patches are -1.
    """
    if len(records) == 1:
        return records[0].survivors
    moments = sorted({stage.moment for record in records for stage in record.survivors})
    return [
        Survivors(block, _owners_after(records, (block, came_back)), came_back)
        for block, came_back in moments
    ]


def _owners_after(records: Sequence[ForwardTrace], moment: tuple[int, bool]) -> Tensor:
    owners = [_owner_after(record, moment) for record in records]
    widest = max(owner.shape[1] for owner in owners)
    padded = [F.pad(owner, (0, widest - owner.shape[1]), value=-1) for owner in owners]
    order = torch.cat([record.rows for record in records]).argsort()
    return torch.cat(padded)[order]


def _owner_after(record: ForwardTrace, moment: tuple[int, bool]) -> Tensor:
    """Return where the patches of one part were at a `moment` of another."""
    assert record.owner is not None
    owners = [stage.owner for stage in record.survivors if stage.moment <= moment]
    return owners[-1] if owners else record.owner
