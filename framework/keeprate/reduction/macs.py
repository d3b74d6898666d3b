"""Counts the multiply-accumulates per image from the number of tokens in each block.

One multiply-accumulate counts as one, as in the "GFLOPs" of the literature. The count includes
convolutions, linear layers and both matrix products of attention, fused or not; a method's own
products are counted separately, as overhead. Norms, activations, softmax and sorting count 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from ..backbone import Backbone, BlockCost
from ..backbones.lookup import adapt
from ..method import Method, Needs, Place, Reuse, Shape, Stage
from .patch_count import PatchCount

if TYPE_CHECKING:
    from torch import Tensor, nn

Count: TypeAlias = "int | Tensor"
"""Tokens or multiply-accumulates: one number, or one per image, int64 (B,)."""


@dataclass(frozen=True)
class Passage:
    """Tokens, prefix included, that pass each half of each block and reach the head."""

    attention: tuple[int, ...]
    feed_forward: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def pooled(self) -> int:
        """Tokens that reach the head."""
        return self.after[-1]


@dataclass(frozen=True)
class Costs:
    """Multiply-accumulates per image, part by part."""

    embedding: int
    projections: int
    attention: int
    mlp: int
    head: int
    overhead: int = 0
    fixed: int = 0
    """Cost that does not depend on the tokens, as of tables of relative positions."""

    @property
    def model(self) -> int:
        """Cost of the model without the method's overhead."""
        parts = self.embedding, self.projections, self.attention, self.mlp, self.fixed, self.head
        return sum(parts)

    @property
    def total(self) -> int:
        """Model and method together."""
        return self.model + self.overhead


@runtime_checkable
class KnowsCosts(Protocol):
    """A model that computes its own costs: a reduced model does so from its schedule."""

    def costs(self, image_size: int | tuple[int, int] | None = None) -> Costs:
        """Return the multiply-accumulates of one image, part by part."""


def macs(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> int:
    """Return the multiply-accumulates per image of a plain or reduced model, overhead included.

    `image_size` in pixels (a side, or height and width) defaults to the model's own. Computed from
    shapes alone, so the model may live on the meta device. Raises KeeprateError for a model that no
    backbone knows, or a method that keeps a different number of tokens in every image.
    """
    return costs(model, image_size).total


def costs(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> Costs:
    """Return the multiply-accumulates per image, part by part; arguments and errors as `macs`."""
    if isinstance(model, KnowsCosts):
        return model.costs(image_size)
    backbone = adapt(model)
    return count(backbone, pixels(backbone, image_size))


def pixels(backbone: Backbone, image_size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return (height, width) in pixels; without `image_size`, the backbone's own size."""
    if image_size is None:
        return backbone.image_size
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def count(
    backbone: Backbone,
    image_size: tuple[int, int],
    method: Method | None = None,
    stages: Sequence[Stage] = (),
    *,
    empty_last_mlp: bool = False,
    blocks: Sequence[BlockCost] | None = None,
) -> Costs:
    """Return the costs of one image under a schedule of fixed counts.

    `blocks` is what `block_costs` returns, for whoever counts many schedules of one backbone.
    """
    blocks = block_costs(backbone) if blocks is None else blocks
    patches = backbone.num_patches(image_size)
    tokens = tokens_per_block(backbone, patches, method, stages, empty_last_mlp=empty_last_mlp)
    spent = 0 if method is None else overhead(backbone, method, stages, patches)
    return Costs(
        embedding=backbone.embed_macs(image_size),
        projections=int(projections_macs(blocks, tokens.attention)),
        attention=int(attention_macs(blocks, tokens.attention)),
        mlp=int(mlp_macs(blocks, tokens.feed_forward)),
        head=int(head_macs(backbone, tokens.pooled)),
        overhead=spent,
        fixed=fixed_macs(blocks),
    )


def tokens_per_block(
    backbone: Backbone,
    patches: int,
    method: Method | None,
    stages: Sequence[Stage],
    *,
    empty_last_mlp: bool = False,
) -> Passage:
    """Follow the number of tokens through the blocks."""
    keep, prefix = {stage.block: stage.keep for stage in stages}, backbone.num_prefix
    attention, feed_forward, after = [], [], []
    left = patches + prefix
    counted = None if method is None else PatchCount(method, patches)
    for block in range(backbone.depth):
        last = block == backbone.depth - 1
        attention.append(left)
        between = left
        if method is not None and counted is not None:
            counted.entering(block)
            if block in keep:
                counted.reduce(keep[block])
                reduced = counted.left + prefix
                if method.place is Place.BEFORE_BLOCK:
                    attention[-1] = reduced
                # tokens removed after the attention never reach the MLP of the same block
                between = left if method.place is Place.AFTER_BLOCK else reduced
            left = prefix + (counted.at_head if last else counted.entering(block + 1))
        if empty_last_mlp and last:
            between = left = prefix
        feed_forward.append(between)
        after.append(left)
    return Passage(tuple(attention), tuple(feed_forward), tuple(after))


def overhead(backbone: Backbone, method: Method, stages: Sequence[Stage], patches: int) -> int:
    """Return the MACs of the method itself for one image."""
    acting = acting_stages(method, stages, backbone.depth, patches)
    spent = sum(stage_macs(backbone, method, left, stage) for left, stage in acting)
    return method.prepare_macs(shape_of(backbone, patches)) + spent


def acting_stages(
    method: Method, stages: Sequence[Stage], depth: int, patches: int
) -> Iterator[tuple[int, Stage]]:
    """Yield each stage at which the method computes something, with the patch tokens that enter.

    A stage that removes nothing is one of them only for a method that `observes`, which computes at
    every block.
    """
    by_block, counted = {stage.block: stage for stage in stages}, PatchCount(method, patches)
    for block in range(depth):
        left = counted.entering(block)
        stage = by_block.get(block, Stage(block, left, depth))
        if stage.keep < left or method.observes:
            yield left, stage
        counted.reduce(stage.keep)


def stage_macs(backbone: Backbone, method: Method, patches: int, stage: Stage) -> int:
    """Return the MACs of the method at one stage: its own, and those of a look into the block.

    The look ahead is q, k and what is read of the attention, for the tokens that enter. Of what it
    computed, the block that follows computes only what it does not reuse.
    """
    shape = shape_of(backbone, patches)
    spent = method.overhead_macs(shape, stage)
    if method.place is not Place.BEFORE_BLOCK or method.needs is Needs.NOTHING:
        return spent
    width = shape.heads * shape.head_dim
    entering, left = shape.tokens, method.left_after(patches, stage.keep) + shape.prefix
    pairs = entering**2 if method.needs is Needs.WEIGHTS else 0
    ahead = 2 * entering * shape.channels * width + pairs * width
    if method.reuses is Reuse.NOTHING:
        return spent + ahead
    spared = 2 * left * shape.channels * width + left**2 * width
    if method.reuses is Reuse.VALUES:
        # several maps may each attend to the values of all
        values = backbone.block_cost(stage.block).per_pair - width
        ahead += entering * shape.channels * width + left * entering * values
        spared += left * shape.channels * width + left**2 * values
    return spent + ahead - spared


def shape_of(backbone: Backbone, patches: int) -> Shape:
    """Return the sizes that a stage with `patches` patch tokens works on."""
    return Shape(patches, backbone.num_prefix, backbone.heads, backbone.head_dim, backbone.channels)


def block_costs(backbone: Backbone) -> tuple[BlockCost, ...]:
    """Return what each block costs."""
    return tuple(backbone.block_cost(block) for block in range(backbone.depth))


def projections_macs(blocks: Sequence[BlockCost], tokens: Sequence[Count]) -> Count:
    """Return the cost of all attention projections, for the tokens entering each block."""
    return _sum_counts(
        [block.attention_per_token * n for block, n in zip(blocks, tokens, strict=True)]
    )


def attention_macs(blocks: Sequence[BlockCost], tokens: Sequence[Count]) -> Count:
    """Return the cost of all attention matrices, for the tokens entering each block."""
    return _sum_counts([block.per_pair * n * n for block, n in zip(blocks, tokens, strict=True)])


def mlp_macs(blocks: Sequence[BlockCost], tokens: Sequence[Count]) -> Count:
    """Return the cost of all feed-forward halves, for the tokens entering each."""
    return _sum_counts([block.mlp_per_token * n for block, n in zip(blocks, tokens, strict=True)])


def fixed_macs(blocks: Sequence[BlockCost]) -> int:
    """Return the cost of all blocks that does not depend on the number of tokens."""
    return sum(block.fixed for block in blocks)


def head_macs(backbone: Backbone, pooled: Count) -> Count:
    """Return the cost of pooling and classifier, for the tokens that reach them."""
    head = backbone.head_cost()
    tokens_read = pooled if head.reads_prefix else pooled - backbone.num_prefix
    return tokens_read * head.per_token + head.fixed


def _sum_counts(parts: Sequence[Count]) -> Count:
    return sum(parts[1:], start=parts[0])
