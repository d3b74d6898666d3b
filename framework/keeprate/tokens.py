"""The tokens that pass through a reduced backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import torch
from torch import Tensor

from . import _position_checks as places
from . import _token_checks as checks
from ._set_aside import in_order, set_aside
from ._token_rows import at_least_float32 as at_least_float32
from ._token_rows import follow, means, merged_places, others, positions, ranked, sums
from ._token_rows import take_rows as take_rows
from ._token_state import MethodState, Reused, no_state
from ._value_checks import ValueChecks, at_once

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
    value_checks: ValueChecks = field(default_factory=at_once, repr=False)
    """When the values that the verbs check are read; a forward pass reads them at its end."""
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
        position = torch.arange(num_prefix, count, device=x.device) if trace else None
        return cls(
            x=x,
            size=x.new_ones(1, 1, dtype=at_least_float32(x.dtype)).expand(batch, count),
            num_prefix=num_prefix,
            has_class_token=has_class_token,
            image=torch.arange(batch, device=x.device) if image is None else image,
            owner=None if position is None else position.expand(batch, -1),
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
        return self._kept(places.check_kept(self.value_checks, index, valid, self.x), valid)

    def keep_top(self, score: Tensor, k: int) -> Tokens:
        """Keep prefix tokens and the `k` patch tokens of highest `score` (B, N), in their order.

        Ties go to the earlier token, on every device and in every batch. Raises KeeprateError as
        `top` does.
        """
        return self._kept(self._ranked(score, k)[:, : self.num_prefix + k].sort(dim=1).values)

    def top(self, score: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Split positions by `score` (B, N): prefix and the `k` best patch tokens, then the rest.

        Returns int64 tensors (B, P + k) and (B, N - P - k), each in ascending order. Scores of
        prefix tokens are ignored, and padding comes last, whatever its scores. Raises
        KeeprateError for scores of another shape or type, for NaN, and for an impossible `k`.
        """
        order, left = self._ranked(score, k), self.num_prefix + k
        return order[:, :left].sort(dim=1).values, order[:, left:].sort(dim=1).values

    def _ranked(self, score: Tensor, k: int) -> Tensor:
        score = checks.check_scores(score, (self.x.shape[0], self.count), self.x.device)
        checks.check_amount(k, self.num_patch_tokens)
        checks.check_numbers(self.value_checks, score, self.valid, self.num_prefix)
        return ranked(score, self.valid, self.num_prefix)

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
        place, order = places.checked_merge(self.value_checks, source, into, order, self.x)
        return self._merged(place, order.shape[1], lambda: order, average)

    def merge_to(self, place: Tensor, count: int, order: Callable[[], Tensor]) -> Tokens:
        """Merge the tokens that have the same new `place` (B, N) int64, from 0 to `count` - 1.

        As `merge`, in fewer operations. `order` returns the positions (B, count) of the tokens
        whose `position`, state and padding the new ones keep, and is called only where there are
        any. Raises KeeprateError for a place that does not exist or to which no token goes.
        """
        place = places.check_places(self.value_checks, place, count, self.x)
        merged = self._merged(place, count, order)
        places.check_filled(self.value_checks, merged.size, merged.valid)
        return merged

    def _merged(
        self, place: Tensor, count: int, order: Callable[[], Tensor], average: bool = True
    ) -> Tokens:
        size, padded = sums(self.size, place, count), self.valid is not None
        computed = {"size": size, "owner": follow(self.owner, place)}
        if average:
            computed["x"] = means(self.x, self.size, size, place, padded=padded)
        stay = self._at(order, [name for name in TOKEN_FIELDS if name not in computed])
        return replace(self, **stay | computed, has_merged=True)

    def absorb(self, into: Tensor) -> Tokens:
        """Merge each token into the one at `into` (B, N) int64, and remove none; `keep` the rest.

        For methods that merge other numbers of tokens in each image. A token that stays names
        itself. Raises KeeprateError for positions that do not exist, and for a target that merges.
        """
        into = places.check_absorbed(self.value_checks, into, self.x)
        size = sums(self.size, into, self.count)
        x = means(self.x, self.size, size, into, padded=self.valid is not None)
        return replace(self, x=x, size=size, owner=follow(self.owner, into), has_merged=True)

    def append(self, source: Tensor, x: Tensor) -> Tokens:
        """Put one token with the features `x` (B, C) behind the others, in place of `source`.

        `source` (B, R) int64 names the tokens that go into it: it has the sum of their sizes, their
        patches, and the position and `token_state` of the first named. A method declares how many
        it `appends`. Raises KeeprateError for positions that do not exist or are named twice, no
        position at all, and other features than those of one token.
        """
        source = places.check_appended(self.value_checks, source, self.x)
        checks.check_features("tokens.append: x", x, self.x[:, 0])
        first, rest = source[:, :1], source[:, 1:]
        order = torch.cat([others(source, self.count), first], dim=1)
        place = merged_places(rest, first.expand_as(rest), order)
        moved = self._merged(place.clamp_min(0), order.shape[1], lambda: order, False)
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
        kept = self._at(lambda: index, TOKEN_FIELDS)
        if self.valid is not None:
            valid = kept["valid"] if valid is None else kept["valid"] & valid
        kept["valid"] = valid
        if self.owner is None and not self.sets_aside:
            return replace(self, **kept)
        moved = positions(index, self.count, valid)
        number = index.shape[1] if valid is None else None  # in each image
        if self.sets_aside and number != self.count:
            kept["aside"], moved = set_aside(self, moved, number, TOKEN_FIELDS)
        return replace(self, **kept, owner=follow(self.owner, moved))

    def _at(self, order: Callable[[], Tensor], names: Iterable[str]) -> dict[str, Any]:
        """Return the fields `names` of the tokens at `order()` (B, K), asked for only if needed."""
        taken = self._each(names, lambda tensor: take_rows(tensor, order()))
        first = (self.follows_positions or self.sets_aside) and self.position is None
        return taken | {"position": order()} if first else taken


TOKEN_FIELDS: Final = tuple(f.name for f in fields(Tokens) if f.metadata == _PER_TOKEN)
"""The fields of `Tokens` that have a row for each token: (B, N, ...)."""

IMAGE_FIELDS: Final = tuple(f.name for f in fields(Tokens) if f.metadata)
"""The fields of `Tokens` that have a row for each image, those of `TOKEN_FIELDS` among them."""
