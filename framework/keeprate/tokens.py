"""The tokens that pass through a reduced backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import torch
from torch import Tensor

from . import _token_checks as checks
from ._set_aside import in_order, set_aside
from ._token_rows import absorbed, averaged, others, positions
from ._token_rows import at_least_float32 as at_least_float32
from ._token_rows import take_rows as take_rows
from ._token_state import MethodState, Reused, no_state
from .errors import KeeprateError

_PER_IMAGE: Final = {"rows": "images"}
_PER_TOKEN: Final = {"rows": "tokens"}


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch of images between two operations of a backbone.

    `x` (B, N, C) are the embeddings, prefix tokens first; `size` (B, N), the wider of float32 and
    the type of `x`, is how many patches each token stands for; `image` (B,) int64 the index of each
    image in its data set; `owner` (B, P) int64 the position of the token that holds each patch of
    the input, or -1 if it was dropped (None unless traced); `valid` (B, N) bool is False for
    padding (None if there is none: only methods with `keeps_per_image` cause it). `position` (B, N)
    int64 is each token's position in the sequence that entered the first block, for models whose
    blocks look it up and methods that skip; a merged token keeps the position of the token it
    merged into. None: no token has moved yet, or nobody needs positions.

    `state`, each (B, ...), and `token_state`, each (B, N, ...), are tensors by name that a method
    carries from stage to stage of one forward pass: empty at first, set by `with_state` and
    `with_token_state`, seen by no other method. They keep their types, whatever that of `x` is.
    """

    # every tensor with a row for each image or token says so here: the verbs go by it
    x: Tensor = field(metadata=_PER_TOKEN)
    size: Tensor = field(metadata=_PER_TOKEN)
    num_prefix: int
    has_class_token: bool
    image: Tensor = field(metadata=_PER_IMAGE)
    owner: Tensor | None = field(default=None, metadata=_PER_IMAGE)
    valid: Tensor | None = field(default=None, metadata=_PER_TOKEN)
    has_merged: bool = False
    position: Tensor | None = field(default=None, metadata=_PER_TOKEN)
    follows_positions: bool = False
    """Whether `position` is recorded once tokens move."""
    context: object = None
    """Data for the backbone's blocks, the same for all images; methods do not use it."""
    grid: tuple[int, int] | None = None
    """Rows and columns of the patches at first; None: they form no grid. A text is one row."""
    state: MethodState = field(default_factory=no_state, metadata=_PER_IMAGE)
    token_state: MethodState = field(default_factory=no_state, metadata=_PER_TOKEN)
    reused: Reused | None = None
    """What the next block attends with, from `reuse`; gone once it has."""
    sets_aside: bool = False
    """Whether `keep` and `keep_top` set the others aside, for `bring_back`, and drop none."""
    aside: Tokens | None = field(default=None, metadata=_PER_IMAGE)
    """What was set aside, without prefix tokens. The `owner` of its patches is -2 - position."""

    @classmethod
    def of(
        cls,
        x: Tensor,
        *,
        num_prefix: int = 0,
        has_class_token: bool = False,
        image: Tensor | None = None,
        trace: bool = False,
        follows_positions: bool = False,
        context: object = None,
        grid: tuple[int, int] | None = None,
    ) -> Tokens:
        """Wrap fresh embeddings `x` (B, N, C): every token stands for one patch."""
        batch, count = x.shape[:2]
        position = torch.arange(num_prefix, count, device=x.device)
        return cls(
            x=x,
            size=torch.ones(batch, count, device=x.device, dtype=at_least_float32(x.dtype)),
            num_prefix=num_prefix,
            has_class_token=has_class_token,
            image=torch.arange(batch, device=x.device) if image is None else image,
            owner=position.expand(batch, -1) if trace else None,
            follows_positions=follows_positions,
            context=context,
            grid=grid,
        )

    @property
    def count(self) -> int:
        """Tokens per image, prefix and padding included."""
        return self.x.shape[1]

    @property
    def num_patch_tokens(self) -> int:
        """Patch tokens per image, padding included."""
        return self.count - self.num_prefix

    @property
    def counts(self) -> int | Tensor:
        """Tokens per image, prefix included, padding left out; int64 (B,) where images differ."""
        return self.count if self.valid is None else self.valid.sum(dim=1)

    def with_x(self, x: Tensor) -> Tokens:
        """Return the same tokens with embeddings `x` (B, N, C)."""
        return replace(self, x=x)

    def with_state(self, /, **tensors: Tensor) -> Tokens:
        """Return the tokens with `tensors`, each (B, ...), in `state`, in place of those so named.

        They go with their images: `keep` and `merge` leave them as they are. Raises KeeprateError
        for what is no tensor, has not one row for each image, or is on another device.
        """
        return replace(self, state=self.state.updated("tokens.with_state", tensors, self.x, 1))

    def with_token_state(self, /, **tensors: Tensor) -> Tokens:
        """Return the tokens with `tensors`, each (B, N, ...), in `token_state`.

        They go with their tokens, prefix tokens and padding included; a token that others merge
        into keeps its own. Raises KeeprateError as `with_state` does.
        """
        token_state = self.token_state.updated("tokens.with_token_state", tensors, self.x, 2)
        return replace(self, token_state=token_state)

    def reuse(self, weights: Tensor, v: Tensor | None = None) -> Tokens:
        """Return the tokens, for the block to attend with `weights`, not with weights of its own.

        The last step of a method that acts before the block and declares it in `reuses`. `weights`
        (B, H, K, M) has a row for each of these K tokens; its columns are those of `v`
        (B, H, M, d), without which they are these tokens.
        """
        return replace(self, reused=Reused(weights, v))

    def copy(self) -> Tokens:
        """Return the same tokens with a copy of each tensor that has a row for each image."""
        return replace(self, **self._each(IMAGE_FIELDS, Tensor.clone))

    def rows(self, images: slice) -> Tokens:
        """Return the tokens of some images of the batch."""
        return replace(self, **self._each(IMAGE_FIELDS, lambda tensor: tensor[images]))

    def keep(self, index: Tensor, valid: Tensor | None = None) -> Tokens:
        """Keep the tokens at `index` (B, K) int64, in that order; drop the others, or set aside.

        If images keep different numbers, `valid` (B, K) bool is False for padding, which may name
        any token. Raises KeeprateError for positions that do not exist or are named twice.
        """
        checks.check_positions("tokens.keep: index", index, self.x.shape[0], self.x.device)
        if valid is not None and (valid.shape != index.shape or valid.dtype != torch.bool):
            raise KeeprateError(
                f"tokens.keep: valid must be boolean and like index, {tuple(index.shape)}, not "
                f"{valid.dtype} {tuple(valid.shape)}."
            )
        checks.check_kept(index, self.count, valid)
        return self._kept(index, valid)

    def keep_top(self, score: Tensor, k: int) -> Tokens:
        """Keep prefix tokens and the `k` patch tokens of highest `score` (B, N), in their order.

        Ties go to the earlier token, on every device and in every batch. Raises KeeprateError as
        `top` does.
        """
        return self._kept(self.top(score, k)[0])

    def top(self, score: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Split positions by `score` (B, N): prefix and the `k` best patch tokens, then the rest.

        Returns int64 tensors (B, P + k) and (B, N - P - k), each in ascending order. Scores of
        prefix tokens are ignored, and padding comes last, whatever its scores. Raises
        KeeprateError for scores of another shape or type, for NaN, and for an impossible `k`.
        """
        score = checks.check_scores(score, (self.x.shape[0], self.count), self.x.device)
        checks.check_amount(k, self.num_patch_tokens)
        ranked = score if self.valid is None else score.masked_fill(~self.valid, -torch.inf)
        ranked = ranked[:, self.num_prefix :]
        checks.check_numbers(score, ranked)
        # stable, so that ties have one order on every device
        order = ranked.argsort(dim=1, descending=True, stable=True) + self.num_prefix
        if self.valid is not None:  # padding goes behind tokens whose own score is -inf
            padded = (~self.valid).gather(1, order).to(torch.uint8)
            order = order.gather(1, padded.argsort(dim=1, stable=True))
        kept, rest = order[:, :k].sort(dim=1).values, order[:, k:].sort(dim=1).values
        prefix = torch.arange(self.num_prefix, device=kept.device).expand(len(kept), -1)
        return torch.cat([prefix, kept], dim=1), rest

    def merge(
        self, source: Tensor, into: Tensor, order: Tensor | None = None, *, average: bool = True
    ) -> Tokens:
        """Merge the tokens at `source` (B, R) into those at `into` (B, R), int64.

        Each target becomes the size-weighted mean of itself and its sources; its size is the sum of
        theirs. With `average=False` only sizes move; the features of the sources are lost. `order`
        (B, N - R) lists what stays in its new order, ascending by default. Raises KeeprateError for
        positions that do not exist, a token that neither stays nor merges once, and a target that
        merges.
        """
        order = checks.checked_order(source, into, order, self.x)
        return self._merged(source, into, order, average)

    def _merged(self, source: Tensor, into: Tensor, order: Tensor, average: bool) -> Tokens:
        position = positions(order, self.count)
        position = position.scatter(1, source, position.gather(1, into))
        size = torch.zeros_like(self.size).scatter_add(1, position, self.size)
        computed = ("size", "x") if average else ("size",)
        stay = self._at(order, [name for name in TOKEN_FIELDS if name not in computed])
        stay |= {"size": size[:, : order.shape[1]], "owner": self._follow(position)}
        if average:
            stay["x"] = averaged(self.x, self.size, source, order, position, size)
        return replace(self, **stay, has_merged=True)

    def absorb(self, into: Tensor) -> Tokens:
        """Merge each token into the one at `into` (B, N) int64, and remove none; `keep` the rest.

        For methods that merge other numbers of tokens in each image. A token that stays names
        itself. Raises KeeprateError for positions that do not exist, and for a target that merges.
        """
        checks.check_absorbed(into, self.x)
        x, size = absorbed(self.x, self.size, into)
        return replace(self, x=x, size=size, owner=self._follow(into), has_merged=True)

    def append(self, source: Tensor, x: Tensor) -> Tokens:
        """Put one token with the features `x` (B, C) behind the others, in place of `source`.

        `source` (B, R) int64 names the tokens that go into it: it has the sum of their sizes, their
        patches, and the position and `token_state` of the first named. A method declares how many
        it `appends`. Raises KeeprateError for positions that do not exist or are named twice, no
        position at all, and other features than those of one token.
        """
        checks.check_positions("tokens.append: source", source, self.x.shape[0], self.x.device)
        checks.check_source("tokens.append", source, self.count)
        checks.check_some("tokens.append: source", source)
        checks.check_features("tokens.append: x", x, self.x[:, 0])
        first, rest = source[:, :1], source[:, 1:]
        order = torch.cat([others(source, self.count), first], dim=1)
        moved = self._merged(rest, first.expand_as(rest), order, False)
        return moved.with_x(torch.cat([moved.x[:, :-1], x[:, None]], dim=1))

    def bring_back(self) -> Tokens:
        """Return these tokens and those that were set aside, in the order of their positions.

        Each is as it was when it was set aside; tokens without any aside are returned as they are.
        Raises KeeprateError if the ones have a `token_state` that the others lack.
        """
        if self.aside is None:
            return self
        both, order = in_order(self, self.aside, TOKEN_FIELDS)
        return replace(both._kept(order), sets_aside=self.sets_aside)

    def _each(self, names: Iterable[str], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Return the result of `change` for each tensor of the fields `names`, by field."""
        changed: dict[str, Any] = {}
        for name in names:
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changed[name] = change(value)
            elif value and isinstance(value, MethodState):  # torch.compile cannot make an empty one
                changed[name] = value.each(change)
            elif isinstance(value, Tokens):
                changed[name] = replace(value, **value._each(IMAGE_FIELDS, change))
        return changed

    def _kept(self, index: Tensor, valid: Tensor | None = None) -> Tokens:
        kept = self._at(index, TOKEN_FIELDS)
        if self.valid is not None:
            valid = kept["valid"] if valid is None else kept["valid"] & valid
        kept["valid"] = valid
        if self.owner is None and not self.sets_aside:
            return replace(self, **kept)
        moved = positions(index, self.count, valid)
        number = index.shape[1] if valid is None else None  # in each image
        if self.sets_aside and number != self.count:
            kept["aside"], moved = set_aside(self, moved, number, TOKEN_FIELDS)
        return replace(self, **kept, owner=self._follow(moved))

    def _at(self, order: Tensor, names: Iterable[str]) -> dict[str, Any]:
        """Return the fields `names` of the tokens at `order` (B, K)."""
        taken = self._each(names, lambda tensor: take_rows(tensor, order))
        first = (self.follows_positions or self.sets_aside) and self.position is None
        return taken | {"position": order} if first else taken

    def _follow(self, position: Tensor) -> Tensor | None:
        """Return `owner` after tokens moved to new positions (B, N); -1 = dropped."""
        if self.owner is None:
            return None
        # -1 is no index, so it is replaced here and put back below
        moved = position.gather(1, self.owner.clamp(min=0))
        return torch.where(self.owner < 0, self.owner, moved)


TOKEN_FIELDS: Final = tuple(f.name for f in fields(Tokens) if f.metadata == _PER_TOKEN)
"""The fields of `Tokens` that have a row for each token: (B, N, ...)."""

IMAGE_FIELDS: Final = tuple(f.name for f in fields(Tokens) if f.metadata)
"""The fields of `Tokens` that have a row for each image, those of `TOKEN_FIELDS` among them."""
