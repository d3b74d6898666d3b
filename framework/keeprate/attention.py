"""What a method may look at: the attention of one block, computed once and only if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .authors import told
from .bias import Bias
from .errors import KeeprateError
from .exporting import without_values
from .method import Method, Needs, Stage
from .raising import raise_explained, verb_at
from .token_checks import mark_numbers
from .tokens import Tokens

CHUNK_BYTES = {"cpu": 4 * 2**20, "cuda": 32 * 2**20}
"""Explicit attention matrices computed at a time: what stays in the cache of each device type."""


@dataclass
class Attention:
    """Queries, keys and values (B, H, N, d) of a block, after norms and position rotation.

    `bias` is added to the attention logits, None for nothing; `x_pre` (B, N, C) is what q, k and v
    were projected from. `weights` and `class_row` are there for methods that declare the
    need; `score` (B, N) is what the method's own `score` returned. In a block that computes several
    attention maps, their heads stand side by side.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    bias: Bias | None
    x_pre: Tensor
    needs: Needs = Needs.WEIGHTS
    given_weights: Tensor | None = None
    given_score: Tensor | None = field(default=None)

    @property
    def mask(self) -> Tensor | None:
        """What is added to the logits, that broadcasts to (B, H, N, N); boolean: True = attend."""
        return None if self.bias is None else self.bias.dense()

    @property
    def weights(self) -> Tensor:
        """Attention weights (B, H, N, N); row i is how query i attends to every key."""
        self._declared(Needs.WEIGHTS, "weights")
        if self.given_weights is None:
            self.given_weights = explicit_weights(self.q, self.k, self.scale, self.mask)
        return self.given_weights

    @property
    def class_row(self) -> Tensor:
        """The class token's row of the attention weights (B, H, N)."""
        self._declared(Needs.CLASS_ROW, "class_row")
        if self.given_weights is not None:
            return self.given_weights[:, :, 0]
        mask = None if self.bias is None else self.bias.first_query().dense()
        return explicit_weights(self.q[:, :, :1], self.k, self.scale, mask)[:, :, 0]

    @property
    def score(self) -> Tensor:
        """What the method's `score` returned, (B, N)."""
        if self.given_score is None:
            raise KeeprateError(
                "attention.score is what the method's score returned, and here is none: keeprate "
                "gives it to reduce, for methods that implement score. In a test of your own, call "
                "tokens.keep_top(score, stage.keep)."
            )
        return mark_numbers(self.given_score)  # whoever gave it has looked at it

    def rows(self, images: slice) -> Attention:
        """Return the attention of some images of the batch."""
        return replace(
            self,
            q=self.q[images],
            k=self.k[images],
            v=self.v[images],
            bias=None if self.bias is None else self.bias.rows(images),
            x_pre=self.x_pre[images],
            given_weights=None,
            given_score=None,
        )

    def _declared(self, need: Needs, what: str) -> None:
        if self.needs < need:
            raise KeeprateError(
                f"attention.{what} was read by a method that declares needs = {self.needs.name}; "
                f"declare needs = Needs.{need.name}."
            )


def explicit_weights(q: Tensor, k: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Return softmax(scale q k^T + mask), (B, H, M, N), for q (B, H, M, d) and k (B, H, N, d)."""
    logits = (q * scale) @ k.transpose(-2, -1)
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        logits = logits + mask
    return logits.softmax(dim=-1)


def as_written(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast leaves a method's own products in their precision."""
    kind = x.device.type
    available = torch.amp.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if available else nullcontext()


def checked_score(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
    """Return the method's scores (B, N), computed as it is written even under autocast.

    Raises KeeprateError naming the method, file and line for scores of another shape or type, on
    another device, or that are not numbers (looking at them waits for the device, once), and for
    whatever the method raises.
    """
    try:
        with as_written(tokens.x):
            score = method.score(tokens, attention, stage)
    except (Exception, SystemExit) as error:
        raise_explained(error, method, "score", tokens, stage)
    said, remedy = _unfit(score, tokens)
    if said:
        where = f"Method '{method.name}' at block {stage.block}: score"
        raise KeeprateError(told(f"{where} {said}", verb_at(method, "score"), remedy))
    return score


def _unfit(score: object, tokens: Tokens) -> tuple[str, str]:
    """Say what is wrong with scores, and the remedy; "" if nothing is."""
    shape, device = tuple(tokens.x.shape[:2]), tokens.x.device
    if not isinstance(score, Tensor) or tuple(score.shape) != shape:
        found = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        said = f"must be one number per token, prefix tokens included, {shape}, not {found}."
        return said, _shape_remedy(score, tokens)
    if not score.is_floating_point():
        return f"must be floating-point, not {score.dtype}.", "Return score.float()."
    if score.device != device:
        said = f"is on {score.device}, the tokens are on {device}."
        return said, "Make its tensors with device=tokens.x.device."
    if not without_values(score) and bool(score.isnan().any()):
        image, token = score.isnan().nonzero()[0].tolist()
        number = int(tokens.image[image])
        said = f"is not a number (NaN) for some tokens, the first token {token} of image {number}."
        return said, "Look for 0 / 0, inf - inf, and logarithms or roots of negative numbers."
    return "", ""


def _shape_remedy(score: object, tokens: Tokens) -> str:
    """Say how scores of another shape probably become one per token."""
    batch, count = tokens.x.shape[:2]
    if score is None:
        return "Does it lack a return?"
    if not isinstance(score, Tensor):
        return "Return a tensor (B, N)."
    shape = tuple(score.shape)
    if tokens.num_prefix and shape == (batch, tokens.num_patch_tokens):
        return "Scores of prefix tokens are ignored, but must be there: score all tokens."
    if score.dim() == 3 and shape[::2] == (batch, count):
        return "Combine the heads, as in score.mean(dim=1)."
    return "score.squeeze(-1) does it." if shape == (batch, count, 1) else "Return (B, N)."


def score_in_chunks(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
    """Return the scores (B, N) of a method that reads the block's output, in bounded memory.

    The attention matrix is gone by then and is computed again, a chunk of images at a time.
    """
    parts = (
        checked_score(method, tokens.rows(images), attention.rows(images), stage)
        for images in chunks(attention.q)
    )
    return torch.cat(list(parts))


def chunks(q: Tensor) -> Iterator[slice]:
    """Split the images of q (B, H, N, d) so that a chunk's attention matrices stay in the cache."""
    batch, heads, count = q.shape[:3]
    if torch.compiler.is_exporting():  # one program for batches of any size
        yield slice(None)
        return
    limit = CHUNK_BYTES.get(q.device.type, batch * heads * count * count * q.element_size())
    step = max(1, limit // (heads * count * count * q.element_size()))
    for start in range(0, max(batch, 1), step):
        yield slice(start, start + step)
