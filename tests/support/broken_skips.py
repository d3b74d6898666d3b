"""Methods that skip: one that keeps its promises, and three that break them."""

from __future__ import annotations

from dataclasses import replace

from broken_methods import KeyNorm
from keeprate import Attention, Stage, Tokens


class Skip(KeyNorm):
    """Lets all but the patch tokens with the longest keys skip blocks."""

    name = "skip"
    skips = True

    def __init__(self, back: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.back = back


class Merged(Skip):
    """Merges what it says it skips."""

    name = "merged"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        kept, gone = tokens.top(attention.score, stage.keep)
        return tokens.merge(gone, kept[:, -1:].expand_as(gone), kept)


class Forgotten(Skip):
    """Loses what was set aside at its stages before."""

    name = "forgotten"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return replace(tokens, aside=None).keep_top(attention.score, stage.keep)


class Changed(Skip):
    """Changes the tokens that it sets aside."""

    name = "changed"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        left = super().reduce(tokens, attention, stage)
        assert left.aside is not None
        return replace(left, aside=left.aside.with_x(left.aside.x / 2))
