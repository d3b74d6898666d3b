"""The one interface a method author implements."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from .errors import KeeprateError

if TYPE_CHECKING:
    from torch import Tensor

    from .attention import Attention
    from .tokens import Tokens


class Needs(IntEnum):
    """What a method reads of the attention; each level includes those before it.

    `NOTHING` and `KEYS` (queries, keys and values) leave the backbone's fused attention alone;
    `CLASS_ROW` adds one row of the attention matrix; `WEIGHTS` computes the matrix explicitly,
    once, for the block's output and for the method together.
    """

    NOTHING = 0
    KEYS = 1
    CLASS_ROW = 2
    WEIGHTS = 3


class Place(StrEnum):
    """Where inside a block a method acts."""

    AFTER_ATTENTION = "after-attention"
    AFTER_BLOCK = "after-block"


@dataclass(frozen=True)
class Stage:
    """One place where tokens are reduced: `block` (from 0) of `depth`, `keep` patch tokens left."""

    block: int
    keep: int
    depth: int


@dataclass(frozen=True)
class Shape:
    """Sizes one stage works on, for counting a method's own cost.

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

    A method that ranks tokens implements `score`; one that does more (merging, for example)
    implements `reduce`. Its parameters are the typed arguments of its constructor, kept as
    attributes of the same names; the command line and reports read them from there. A method keeps
    nothing between calls: one instance may serve many batches and several runs.

    Attributes of the class, of which a method sets `name` and whatever is not as given here:
    `needs` (NOTHING), what it reads of the attention; `place` (AFTER_ATTENTION), where in the block
    it acts; `requires_class_token` (False), that models without one are refused;
    `proportional_attention` (False), that log(token size) is added to the attention logits once
    tokens have merged; `scores_block_output` (False), that `score` sees the tokens as the block
    leaves them; `keeps_per_image` (False), that images may keep different numbers of tokens, at
    most `stage.keep`; `default_schedule` ("keep") and `default_blocks` (3, 6, 9 of 12), the
    schedule that a budget is solved for when none is named; `presets`, published settings.
    """

    name: ClassVar[str]
    place: Place = Place.AFTER_ATTENTION
    needs: Needs = Needs.NOTHING
    reduces: ClassVar[bool] = True
    """False for the one method that stands for the unpruned model."""
    requires_class_token: ClassVar[bool] = False
    proportional_attention: bool = False
    """Whether log(token size) is added to the attention logits once tokens have merged."""
    scores_block_output: bool = False
    """Whether `score` must see the tokens as the block leaves them, not as they enter it."""
    keeps_per_image: ClassVar[bool] = False
    """Whether images may keep different numbers of tokens, at most `stage.keep`."""
    default_schedule: ClassVar[str] = "keep"
    """The form of schedule a budget is solved for when none is named."""
    default_blocks: ClassVar[tuple[int, ...]] = (3, 6, 9)
    """Where keep rates apply when a schedule names no blocks: of 12, scaled with the depth."""
    presets: ClassVar[Mapping[str, Preset]] = {}

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return importance scores (B, N), higher = keep; entries of prefix tokens are ignored.

        Called with a few images at a time where `needs` is `WEIGHTS`, while their weights are in
        the processor's cache; the result is offered to `reduce` as `attention.score`.
        """
        raise KeeprateError(f"Method '{self.name}' does not implement score.")

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return `tokens` reduced to `stage.keep` patch tokens, by default the best by score."""
        return tokens.keep_top(attention.score, stage.keep)

    def importance(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor | None:
        """Return how important each token is, (B, N), for pictures alone; None: nothing to show.

        By default the score, for methods that have one. Asked for with what `reduce` is given, and
        only when pictures are drawn.
        """
        return attention.score if has_score(self) else None

    def most_removed(self, patches: int) -> int:
        """Return how many of `patches` patch tokens one stage can remove (at least one stays)."""
        return patches - 1

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Return the multiply-accumulates per image this method itself spends at one stage."""
        return 0


@runtime_checkable
class IterativeMethod(Protocol):
    """What a method also offers whose ranking is found by iteration, for studies of convergence.

    There is nothing to derive from: a method that has both functions is one.
    """

    def signals(
        self, tokens: Tokens, attention: Attention, stage: Stage, iterations: Sequence[int]
    ) -> Tensor:
        """Return every head's distribution over the tokens, (T, B, H, N), each with sum 1.

        They are wanted after each of T numbers of `iterations`, ascending, from 1.
        """

    def combined(self, tokens: Tokens, signal: Tensor) -> Tensor:
        """Return one score per token (B, N), higher = keep, from the heads' `signal` (B, H, N)."""


def has_score(method: Method) -> bool:
    """Tell whether `method` implements `score`."""
    return type(method).score is not Method.score
