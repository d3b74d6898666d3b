"""Methods that break one promise each in what they say or do, and three that keep them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from keeprate import Attention, Method, Needs, Preset, Stage, Tokens


class KeyNorm(Method):
    """Keeps the patch tokens with the longest keys."""

    name = "key-norm"
    needs = Needs.KEYS

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return attention.k.norm(p=self.power, dim=-1).mean(dim=1)


class LongKeys(KeyNorm):
    """Keeps patch tokens whose keys are longer than the image's average, at most as scheduled."""

    name = "long-keys"
    keeps_per_image = True

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        score = attention.score.clone()
        valid = torch.ones_like(score, dtype=torch.bool) if tokens.valid is None else tokens.valid
        score.masked_fill_(~valid, -torch.inf)
        score[:, : tokens.num_prefix] = torch.inf
        patches = score[:, tokens.num_prefix :]
        there = patches.isfinite()
        mean = patches.masked_fill(~there, 0).sum(dim=1, keepdim=True) / there.sum(1, keepdim=True)
        left = tokens.num_prefix + (patches >= mean - 1e-9).sum(dim=1).clamp(1, stage.keep)
        order = score.argsort(dim=1, descending=True, stable=True)[:, : int(left.max())]
        return tokens.keep(order, torch.arange(order.shape[1]) < left[:, None])


class Described(KeyNorm):
    __doc__ = None
    name = "described"


class Parameters(KeyNorm):
    """Keeps another number than it is given."""

    name = "parameters"

    def __init__(self, power: float = 1.0) -> None:
        self.power = 2 * power


class NoDefault(KeyNorm):
    """Has a parameter that must be given."""

    name = "no-default"

    def __init__(self, power: float) -> None:
        self.power = power


class Limits(KeyNorm):
    """Says that it can remove every token there is."""

    name = "limits"

    def most_removed(self, patches: int) -> int:
        return patches


class Schedules(KeyNorm):
    """Has a preset that nobody can read."""

    name = "schedules"
    presets: ClassVar[Mapping[str, Preset]] = {"mine": Preset("keep 70%")}


class Pickles(KeyNorm):
    """Holds a function that cannot be pickled."""

    name = "pickles"

    def __init__(self, power: float = 2.0) -> None:
        self.power, self.sign = power, lambda score: -score

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return self.sign(super().score(tokens, attention, stage))


class Reads(KeyNorm):
    """Reads keys, and says that it reads nothing."""

    name = "reads"
    needs = Needs.NOTHING


class ReadsWeights(Method):
    """Reads the attention matrix, and says that it reads keys."""

    name = "reads-weights"
    needs = Needs.KEYS

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return attention.weights.mean(dim=(1, 2))


class NeedsAll(KeyNorm):
    """Asks for the attention matrix and never looks at it."""

    name = "needs"
    needs = Needs.WEIGHTS


class Returns(KeyNorm):
    """Scores every head."""

    name = "returns"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return attention.k.norm(dim=-1)


class Counts(KeyNorm):
    """Keeps one token less than it is told to."""

    name = "counts"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return tokens.keep_top(attention.score, max(stage.keep - 1, 1))


class Identity(KeyNorm):
    """Puts a quicker activation into torch, for everyone."""

    name = "identity"

    def __init__(self, power: float = 2.0) -> None:
        self.power = power
        F.gelu = quick_gelu


def quick_gelu(x: Tensor, approximate: str = "none") -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class Prefix(KeyNorm):
    """Scales the class token."""

    name = "prefix"
    requires_class_token = True

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        kept = tokens.keep_top(attention.score, stage.keep)
        x = kept.x.clone()
        x[:, 0] *= 1.5
        return kept.with_x(x)


class Sizes(KeyNorm):
    """Gives the size of dropped tokens to nobody, and says that every token stands for two."""

    name = "sizes"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        kept = tokens.keep_top(attention.score, stage.keep)
        size = torch.full_like(kept.size, 2.0)
        size[:, : kept.num_prefix] = 1.0
        return replace(kept, size=size, has_merged=True)


class Gathers(KeyNorm):
    """Merges what it does not keep into the first patch token that it keeps."""

    name = "gathers"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        kept, gone = tokens.top(attention.score, stage.keep)
        first = kept[:, tokens.num_prefix, None].expand_as(gone)
        return self.changed(tokens.merge(gone, first, kept))

    def changed(self, merged: Tokens) -> Tokens:
        return merged


class Unflagged(Gathers):
    """Merges tokens and does not say so."""

    name = "unflagged"

    def changed(self, merged: Tokens) -> Tokens:
        return replace(merged, has_merged=False)


class Swapped(Gathers):
    """Gives the size of merged tokens to another token."""

    name = "swapped"

    def changed(self, merged: Tokens) -> Tokens:
        prefix = merged.num_prefix
        patches = merged.size[:, prefix:].flip(1)
        return replace(merged, size=torch.cat([merged.size[:, :prefix], patches], dim=1))


class Trace(KeyNorm):
    """Forgets where the patches went."""

    name = "trace"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return replace(tokens.keep_top(attention.score, stage.keep), owner=None)


class ImageSizes(KeyNorm):
    """Takes every image for a square."""

    name = "image-sizes"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        if stage.block == 0:
            side = int(tokens.num_patch_tokens**0.5)
            tokens.x[:, tokens.num_prefix :].reshape(len(tokens.x), side, side, tokens.x.shape[2])
        return super().score(tokens, attention, stage)


class OneImage(KeyNorm):
    """Loses the batch where it has one image."""

    name = "one-image"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return super().score(tokens, attention, stage).squeeze()


class NoImages(KeyNorm):
    """Looks for the last image, also where there is none."""

    name = "no-images"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return super().score(tokens, attention, stage) + 0 * int(tokens.image.max())


class OneToken(KeyNorm):
    """Keeps two tokens at least."""

    name = "one-token"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return tokens.keep_top(attention.score, max(stage.keep, 2))


class Ties(KeyNorm):
    """Divides by the spread of the keys, which may be none."""

    name = "ties"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        score = attention.k.abs().amax(dim=(1, 3))  # not rounded, on any processor
        lowest = score[:, tokens.num_prefix :].amin(dim=1, keepdim=True)
        highest = score[:, tokens.num_prefix :].amax(dim=1, keepdim=True)
        return (score - lowest) / (highest - lowest)
