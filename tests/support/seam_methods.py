"""Methods that act before a block, prepare, observe or reweigh, and mistakes that they could make.

The methods of each kind that keep their promises come first.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from broken_methods import KeyNorm
from keeprate import Attention, Method, Needs, Place, Reuse, Shape, Stage, Tokens


class Early(KeyNorm):
    """Keeps the patch tokens with the longest keys, before the block; it attends anew."""

    name = "early"
    place = Place.BEFORE_BLOCK


class Rows(Early):
    """Lets only the tokens attend that it keeps, to the keys and values of all."""

    name = "rows"
    needs = Needs.WEIGHTS
    reuses = Reuse.VALUES

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        index, _ = tokens.top(attention.score, stage.keep)
        return self.reused(tokens.keep(index), index, attention)

    def reused(self, kept: Tokens, index: Tensor, attention: Attention) -> Tokens:
        return kept.reuse(rows_of(attention.weights, index), attention.v)


class Square(Rows):
    """Gives the block its own weights among the tokens that it keeps, each row with sum 1."""

    name = "square"
    reuses = Reuse.WEIGHTS

    def reused(self, kept: Tokens, index: Tensor, attention: Attention) -> Tokens:
        rows = rows_of(attention.weights, index)
        square = rows_of(rows.transpose(2, 3), index).transpose(2, 3)
        return kept.reuse(square / square.sum(dim=3, keepdim=True))


def rows_of(weights: Tensor, index: Tensor) -> Tensor:
    """Return the rows at `index` (B, K) of weights (B, H, N, M)."""
    return weights.gather(
        2, index[:, None, :, None].expand(-1, *weights.shape[1:2], -1, weights.shape[3])
    )


class Undeclared(Rows):
    """Reuses what it does not declare."""

    name = "undeclared"
    reuses = Reuse.NOTHING


class NotGiven(Rows):
    """Declares that it reuses values, and gives none."""

    name = "not-given"

    def reused(self, kept: Tokens, index: Tensor, attention: Attention) -> Tokens:
        return kept


class AllRows(Rows):
    """Gives the rows of tokens that it has dropped."""

    name = "all-rows"

    def reused(self, kept: Tokens, index: Tensor, attention: Attention) -> Tokens:
        return kept.reuse(attention.weights, attention.v)


class OneHead(Rows):
    """Gives the values of one head for all."""

    name = "one-head"

    def reused(self, kept: Tokens, index: Tensor, attention: Attention) -> Tokens:
        return kept.reuse(rows_of(attention.weights, index), attention.v[:, :1])


class TooLate(Rows):
    """Reuses attention after the block, which would be the next block's."""

    name = "too-late"
    place = Place.AFTER_BLOCK


class Nearest(Method):
    """Keeps the patch tokens that are still nearest to what they were before the first block."""

    name = "nearest"

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def prepare(self, tokens: Tokens) -> Tokens:
        return tokens.with_token_state(first=tokens.x).with_state(mean=tokens.x.mean(dim=1))

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return -(tokens.x - tokens.token_state["first"]).abs().pow(self.power).sum(dim=2)

    def prepare_macs(self, shape: Shape) -> int:
        return shape.tokens * shape.channels


class Drawn(Method):
    """Keeps the patch tokens that drew most attention in all blocks so far."""

    name = "drawn"
    needs = Needs.WEIGHTS
    observes = True

    def __init__(self, place: str = "after-attention") -> None:
        self.place = Place(place)

    def observe(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        drawn = attention.weights.mean(dim=(1, 2)) + tokens.token_state.get("drawn", 0.0)
        seen = tokens.state.get("blocks", torch.zeros(len(tokens.x)))
        return tokens.with_token_state(drawn=drawn).with_state(blocks=seen + 1)

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return tokens.keep_top(tokens.token_state["drawn"], stage.keep)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        return shape.heads * shape.tokens**2


class Reweighed(KeyNorm):
    """Changes attention weights to their `power`, or leaves them."""

    name = "reweighed"
    needs = Needs.KEYS
    reweighs = True

    def reweigh(self, weights: Tensor, tokens: Tokens) -> Tensor:
        return weights if self.power == 2 else weights**self.power


class Keyed(KeyNorm):
    """Lets tokens count as keys by their place in the batch's sequence, from the first block on."""

    name = "keyed"

    def key_weights(self, tokens: Tokens) -> Tensor | None:
        return torch.arange(1.0, tokens.count + 1).expand_as(tokens.size)


class Moves(Nearest):
    """Changes the tokens where it may only prepare a state."""

    name = "moves"

    def prepare(self, tokens: Tokens) -> Tokens:
        return tokens.with_x(tokens.x + 1)


class Drops(Drawn):
    """Drops a token where it may only observe."""

    name = "drops"

    def observe(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return tokens.keep_top(tokens.size, tokens.num_patch_tokens - 1)


class Forgets(Drawn):
    """Returns nothing from observe."""

    name = "forgets"

    def observe(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        super().observe(tokens, attention, stage)
        return None  # type: ignore[return-value]


class Fails(Drawn):
    """Raises while it observes."""

    name = "fails"

    def observe(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        raise ValueError("nothing to see")


class Half(Reweighed):
    """Returns weights of another type."""

    name = "half"

    def reweigh(self, weights: Tensor, tokens: Tokens) -> Tensor:
        return weights.half()


class OneRow(Reweighed):
    """Returns one row of weights."""

    name = "one-row"

    def reweigh(self, weights: Tensor, tokens: Tokens) -> Tensor:
        return weights[:, :, 0]


class PatchKeys(Keyed):
    """Forgets the prefix tokens among the keys."""

    name = "patch-keys"

    def key_weights(self, tokens: Tokens) -> Tensor | None:
        return tokens.size[:, tokens.num_prefix :]


class ByHand(Nearest):
    """Puts another context into the tokens by hand."""

    name = "by-hand"

    def prepare(self, tokens: Tokens) -> Tokens:
        return replace(tokens, context=())


class Costless(Nearest):
    """Multiplies matrices to prepare, and does not count it."""

    name = "costless"

    def prepare(self, tokens: Tokens) -> Tokens:
        return tokens.with_state(products=tokens.x @ tokens.x.mT).with_token_state(first=tokens.x)

    def prepare_macs(self, shape: Shape) -> int:
        return 0


class Unseen(Drawn):
    """Observes what it does not declare to read."""

    name = "unseen"
    needs = Needs.KEYS


class Uncounted(Drawn):
    """Multiplies matrices to observe, and does not count it."""

    name = "uncounted"

    def observe(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        alike = (tokens.x @ tokens.x.mT).mean(dim=2)
        return super().observe(tokens, attention, stage).with_token_state(alike=alike)


class Writes(Drawn):
    """Writes into the attention that it observes."""

    name = "writes"

    def observe(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        attention.v.mul_(0.5)
        return super().observe(tokens, attention, stage)


class Multiplies(Reweighed):
    """Multiplies matrices to reweigh, which nothing counts."""

    name = "multiplies"

    def reweigh(self, weights: Tensor, tokens: Tokens) -> Tensor:
        return weights @ weights


class Number(Rows):
    """Declares with a number what it reuses."""

    name = "number"
    reuses = 2  # type: ignore[assignment]
