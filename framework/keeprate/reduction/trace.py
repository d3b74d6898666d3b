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
    overhead: int | Tensor = 0
    survivors: list[Survivors] = field(default_factory=list)

    def fork(self) -> ForwardTrace:
        """Return a copy for another branch; both can then be continued independently."""
        return replace(
            self,
            attention=list(self.attention),
            feed_forward=list(self.feed_forward),
            after=list(self.after),
            survivors=list(self.survivors),
        )

    def changed(self, change: Callable[[Tensor], Tensor]) -> ForwardTrace:
        """Return a copy with `change` applied to the counts that are tensors."""

        def each(counts: list[int | Tensor]) -> list[int | Tensor]:
            return [change(count) if isinstance(count, Tensor) else count for count in counts]

        return replace(
            self,
            attention=each(self.attention),
            feed_forward=each(self.feed_forward),
            after=each(self.after),
            overhead=each([self.overhead])[0],
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


def stage_macs_per_image(
    backbone: Backbone, method: Method, before: Tokens, after: Tokens, stage: Stage
) -> int | Tensor:
    """Return the MACs of the method at one stage, from the real token counts of each image."""
    if not method.keeps_per_image:
        return stage_macs(backbone, method, before.num_patch_tokens, stage)
    spent = [
        stage_macs(backbone, method, entering, replace(stage, keep=left - method.appends))
        for entering, left in zip(_patches(before), _patches(after), strict=True)
    ]
    return torch.tensor(spent, device=before.x.device)


def _patches(tokens: Tokens) -> list[int]:
    """Return the patch tokens of each image, without padding."""
    if tokens.valid is None:
        return [tokens.num_patch_tokens] * tokens.x.shape[0]
    patches: list[int] = (tokens.valid.sum(dim=1) - tokens.num_prefix).tolist()
    return patches
