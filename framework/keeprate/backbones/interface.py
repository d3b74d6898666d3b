"""The one interface a backbone author implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..attention import AttentionReader
    from ..tokens import Tokens


@dataclass(frozen=True)
class BlockCost:
    """Multiply-accumulates of one block.

    `attention_per_token` for its projections, `per_pair` for each (query, key) pair of the
    attention matrix and its product with the values, `mlp_per_token` for the feed-forward half.
    """

    attention_per_token: int
    per_pair: int
    mlp_per_token: int


@dataclass(frozen=True)
class HeadCost:
    """Multiply-accumulates of pooling and classifier: `fixed`, and `per_token` pooled."""

    fixed: int
    per_token: int = 0
    reads_prefix: bool = True
    """Whether prefix tokens are among those that cost `per_token`."""


class Backbone(ABC):
    """Runs a model of one family in pieces: embed, each block's two halves, classify.

    Its pieces in a row must compute exactly what the model computes. `model` is used, never
    changed.
    """

    name: ClassVar[str]
    num_prefix: int
    has_class_token: bool
    depth: int
    heads: int
    head_dim: int
    channels: int
    image_size: tuple[int, int]
    head_reads_prefix_only: bool
    """Whether the logits depend on prefix tokens alone (class-token heads)."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @classmethod
    @abstractmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return None if this family runs `model`; otherwise what is missing.

        An empty text says that the model is of another family altogether.
        """

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block, for images (B, 3, H, W)."""

    @abstractmethod
    def attend(
        self, block: int, x: Tensor, mask: Tensor | None, reader: AttentionReader | None
    ) -> Tensor:
        """Run a block's first half, residual included, on x (B, N, C).

        `mask` is added to the attention logits. With a `reader`, its `x_pre` must be set to the
        input of the attention's projections, and the attention must run inside `with reader:`.
        """

    @abstractmethod
    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run a block's second half, residual included, on x (B, N, C)."""

    @abstractmethod
    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K) from the tokens that leave the last block.

        Averages weigh each token by its size; padding takes no part. `mask` (B, 1, 1, N) is what
        attention pooling adds to its logits.
        """

    @abstractmethod
    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return how many patch tokens an image of `image_size` (height, width) pixels gives."""

    @abstractmethod
    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the multiply-accumulates of `embed` for one image."""

    @abstractmethod
    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs."""

    @abstractmethod
    def head_cost(self) -> HeadCost:
        """Return what pooling and classifier cost."""
