"""The one interface a method author implements."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from .errors import KeeprateError

if TYPE_CHECKING:
    from torch import Tensor

    from .attention import Attention
    from .tokens import Tokens


class Needs(IntEnum):
    """What a method reads of the attention; each level includes the levels before it.

    `NOTHING` and `KEYS` (queries, keys and values) leave the backbone's fused attention alone;
    `CLASS_ROW` adds one row of the attention matrix; `WEIGHTS` computes the matrix explicitly,
    once, for the block's output and for the method together.
    """

    NOTHING = 0
    KEYS = 1
    CLASS_ROW = 2
    WEIGHTS = 3


class Place(StrEnum):
    """Where a method acts: before a block, which it can look into, or inside one, or after it."""

    BEFORE_BLOCK = "before-block"
    AFTER_ATTENTION = "after-attention"
    AFTER_BLOCK = "after-block"


class Reuse(IntEnum):
    """What a block takes over of the attention that a method saw before it (`Attention.reuse`)."""

    NOTHING = 0
    WEIGHTS = 1
    """The attention weights; the values are those of the tokens that the method leaves."""
    VALUES = 2
    """The attention weights, and the values that they belong to."""


@dataclass(frozen=True)
class Stage:
    """One reduction: at `block` (from 0) of `depth`, after which `keep` patch tokens remain.

    `number` counts the stages of a schedule, from 0.
    """

    block: int
    keep: int
    depth: int
    number: int = field(
        default=0, repr=False
    )  # no part of the hash of stages: it follows from them


@dataclass(frozen=True)
class Shape:
    """Sizes that one stage works on; a method counts its own cost with them.

    `patches` patch tokens and `prefix` prefix tokens enter; attention has `heads` of `head_dim`
    channels; token embeddings have `channels`.
    """

    patches: int
    prefix: int
    heads: int
    head_dim: int
    channels: int

    @property
    def tokens(self) -> int:
        """Patch and prefix tokens together."""
        return self.patches + self.prefix


@dataclass(frozen=True)
class Preset:
    """A published setting: a schedule and the parameters that go with it."""

    schedule: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    note: str = ""


class Method(ABC):
    """Decides, at each stage, which tokens go on and in what form.

    A method that ranks tokens implements `score`; a method that does more (merging, for example)
    implements `reduce`. Its parameters are the typed arguments of its constructor, kept as
    attributes of the same names; the command line and reports read them from there. A method keeps
    nothing between calls: one instance may serve many batches and several runs. What it carries
    from one stage to the next goes with the tokens (`Tokens.state`, `Tokens.token_state`).

    A method sets `name` and those attributes of the class that differ from these defaults:
    `needs` (NOTHING) says what it reads of the attention; `place` (AFTER_ATTENTION) where it acts;
    `requires_class_token` (False) whether models without one are refused; `requires_weights`
    (False) whether it runs only with its parameter `weights`, a file; `proportional_attention`
    (False) whether log(token size) is added to the attention logits once tokens have merged;
    `scores_block_output` (False) whether `score` sees the tokens as `reduce` does, at the method's
    place; `appends` (0) how many tokens each stage adds to those it keeps; `skips` (False) whether
    the others are set aside, not dropped, and come back before the head, and before each block of
    `back` (none); `keeps_per_image`
    (False) whether images may keep different numbers of tokens, at most `stage.keep`; `reuses`
    (NOTHING) what a block takes over of the attention that the method saw before it; `reweighs`
    (False) whether `reweigh` changes the attention weights of every block; `observes` (False)
    whether `observe` is called at every block. If the user names a budget but no schedule, the
    budget is solved for `default_schedule` ("keep") at `default_blocks` (3, 6, 9 of 12). `presets`
    are published settings.
    """

    name: ClassVar[str]
    place: Place = Place.AFTER_ATTENTION
    needs: Needs = Needs.NOTHING
    reduces: ClassVar[bool] = True
    """False only for the method that represents the unpruned model."""
    requires_class_token: ClassVar[bool] = False
    requires_weights: ClassVar[bool] = False
    """Whether it runs only with its parameter `weights`, a file of what training gave it."""
    weights_prefix: ClassVar[str] = ""
    """What the names of its tensors begin with, where they stand among those of a model."""
    proportional_attention: bool = False
    """Whether log(token size) is added to the attention logits once tokens have merged."""
    scores_block_output: bool = False
    """Whether `score` must see the tokens as `reduce` does, not as they enter the block."""
    appends: int = 0
    """How many tokens a stage appends to the `stage.keep` that it keeps (`Tokens.append`)."""
    skips: bool = False
    """Whether the tokens that a stage does not keep bypass the blocks unchanged and come back."""
    back: tuple[int, ...] = ()
    """Where it skips: the blocks (from 0) before which all tokens come back, as before the head."""
    keeps_per_image: ClassVar[bool] = False
    """Whether images may keep different numbers of tokens, at most `stage.keep`."""
    reuses: Reuse = Reuse.NOTHING
    """What the block takes over of `Attention.reuse`; only at the place `BEFORE_BLOCK`."""
    reweighs: bool = False
    """Whether `reweigh` changes the attention weights of every block."""
    observes: bool = False
    """Whether `observe` is called at every block, those without a stage included."""
    default_schedule: ClassVar[str] = "keep"
    """The schedule that a budget is solved for if the user names none."""
    default_blocks: ClassVar[tuple[int, ...]] = (3, 6, 9)
    """The blocks of a schedule that names none: of 12 blocks, scaled with the depth."""
    presets: ClassVar[Mapping[str, Preset]] = {}
    reads: ClassVar[Sequence[str | PurePath]] = ()
    """Files and folders that it reads, from the folder of its own file; their content counts in the
    ids of its runs."""

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return importance scores (B, N), higher = keep; entries of prefix tokens are ignored.

        If `needs` is `WEIGHTS`, it is called with a few images at a time, while their weights are
        in the processor's cache; `reduce` reads the result as `attention.score`.
        """
        raise KeeprateError(f"Method '{self.name}' does not implement score.")

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return `tokens` reduced to `stage.keep` patch tokens, by default the best by score."""
        return tokens.keep_top(attention.score, stage.keep)

    def prepare(self, tokens: Tokens) -> Tokens:
        """Return the tokens that enter the first block, with a state that the method needs later.

        Only `state` and `token_state` may differ. Called once in a forward pass.
        """
        return tokens

    def observe(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return `tokens` with a state that the method takes from this block.

        Only `state` and `token_state` may differ. If the method `observes`, it is called at every
        block, before `reduce`; at a block without a stage, `stage.keep` is all patch tokens.
        """
        return tokens

    def reweigh(self, weights: Tensor, tokens: Tokens) -> Tensor:
        """Return the attention weights (B, H, N, N) in place of `weights`, those of the softmax.

        If the method `reweighs`, the output of every block and `attention` are computed with them,
        a few images at a time. `tokens` are those that enter the block.
        """
        return weights

    def key_weights(self, tokens: Tokens) -> Tensor | None:
        """Return what each token counts for as a key, (B, N) > 0, or None if all count for 1.

        The logarithm is added to the attention logits of every block. The default is the sizes of
        the tokens once some have merged, if the method asks for `proportional_attention`.
        """
        return tokens.size if self.proportional_attention and tokens.has_merged else None

    def importance(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor | None:
        """Return the importance of each token, (B, N), for pictures only; None: nothing to show.

        The default is the score, if the method has one. It is called with the arguments of
        `reduce`, and only when pictures are drawn.
        """
        return attention.score if has_score(self) else None

    def unfit(self, shape: Shape, stages: Sequence[Stage]) -> str:
        """Return why it cannot act at `stages`, as in "has weights for 2 stages"; "" if it can.

        `shape` are the sizes that enter the first block. Asked before anything is computed: first
        without a stage, whether it suits a model at all, then with those of its schedule.
        """
        return ""

    def most_removed(self, patches: int) -> int:
        """Return how many of `patches` patch tokens one stage can remove (at least one stays)."""
        return patches - 1

    def left_after(self, entering: int, keep: int) -> int:
        """Return the patch tokens that leave a stage, those it appends included.

        A stage that keeps all tokens `entering` does nothing, and appends nothing.
        """
        return keep + self.appends if keep < entering else entering

    def kept_at_rate(self, entering: int, rate: float) -> int | None:
        """Return how many of `entering` patch tokens a stage of keep rate `rate` keeps.

        None, the default: as schedules count, by the product of the rates so far. For methods whose
        authors count in another way.
        """
        return None

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Return the multiply-accumulates per image of the method itself at one stage."""
        return 0

    def prepare_macs(self, shape: Shape) -> int:
        """Return the multiply-accumulates per image of `prepare`."""
        return 0


@runtime_checkable
class IterativeMethod(Protocol):
    """A method that finds its ranking by iteration, for studies of convergence.

    A method need not derive from it: every method with both functions counts as one.
    """

    def signals(
        self, tokens: Tokens, attention: Attention, stage: Stage, iterations: Sequence[int]
    ) -> Tensor:
        """Return every head's distribution over the tokens, (T, B, H, N), each with sum 1.

        `iterations` are T ascending numbers from 1; there is one result after each of them.
        """

    def combined(self, tokens: Tokens, signal: Tensor) -> Tensor:
        """Return one score per token (B, N), higher = keep, from the heads' `signal` (B, H, N)."""


def has_score(method: Method) -> bool:
    """Tell whether `method` implements `score`."""
    # the inherited `score` only raises
    return type(method).score is not Method.score
