"""Methods that append a token: one that keeps its promises, and four that break one each."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from broken_methods import KeyNorm
from keeprate import Attention, Stage, Tokens
from keeprate.tokens import take_rows


class MeanRest(KeyNorm):
    """Keeps the patch tokens with the longest keys, and the mean of the others as one token."""

    name = "mean-rest"
    appends = 1

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        kept, gone = tokens.top(attention.score, stage.keep)
        return self.joined(tokens, kept, gone, take_rows(tokens.x, gone).mean(dim=1))

    def joined(self, tokens: Tokens, kept: Tensor, gone: Tensor, mean: Tensor) -> Tokens:
        return tokens.append(gone, mean)


class Undeclared(MeanRest):
    """Appends a token and does not say so."""

    name = "undeclared"
    appends = 0


class Forgotten(KeyNorm):
    """Says that it appends a token and forgets it."""

    name = "forgotten"
    appends = 1

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return tokens.keep_top(attention.score, stage.keep)


class Uncounted(MeanRest):
    """Says that it appends half a token."""

    name = "uncounted"
    appends = 0.5  # type: ignore[assignment]


class ByHand(MeanRest):
    """Appends a token that stands for no patch."""

    name = "by-hand"

    def joined(self, tokens: Tokens, kept: Tensor, gone: Tensor, mean: Tensor) -> Tokens:
        left = tokens.keep(kept)
        x = torch.cat([left.x, mean[:, None]], dim=1)
        return replace(left, x=x, size=torch.cat([left.size, left.size[:, :1]], dim=1))
