"""Methods that break one promise each in how they work: state, randomness, precision, costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from broken_methods import KeyNorm
from keeprate import Attention, Method, Needs, Shape, Stage, Tokens

CALLS: list[int] = []


class Misspelt(KeyNorm):
    """Counts what it spends where nobody looks."""

    name = "misspelt"

    def overhead_mac(self, shape: Shape, stage: Stage) -> int:
        return shape.heads * shape.tokens * shape.head_dim


class Batch(KeyNorm):
    """Compares every image with the others of its batch."""

    name = "batch"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        score = super().score(tokens, attention, stage)
        return score - score.mean(dim=0)


class Order(KeyNorm):
    """Treats every other image of a batch in another way."""

    name = "order"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        sign = 1 - 2 * (torch.arange(len(tokens.x)) % 2)
        return super().score(tokens, attention, stage) * sign[:, None]


class Repeats(KeyNorm):
    """Changes its mind with every call of the process."""

    name = "repeats"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        CALLS.append(1)
        return super().score(tokens, attention, stage) * (-1) ** len(CALLS)


class Randomness(Method):
    """Draws scores from torch's global generator."""

    name = "randomness"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return torch.rand(tokens.count).expand(len(tokens.x), -1)


class NumpyRandomness(Method):
    """Seeds NumPy's global generator and draws from it."""

    name = "numpy-randomness"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        np.random.seed(stage.block)
        return torch.from_numpy(np.random.rand(tokens.count)).expand(len(tokens.x), -1)


class Settings(KeyNorm):
    """Changes a setting of torch for good."""

    name = "settings"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        torch.set_float32_matmul_precision("medium")
        return super().score(tokens, attention, stage)


class Stateless(KeyNorm):
    """Remembers the last tokens."""

    name = "stateless"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        self.last = tokens.count
        return super().reduce(tokens, attention, stage)


class Hoards(KeyNorm):
    """Counts its calls in its class."""

    name = "hoards"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        type(self).calls = getattr(type(self), "calls", 0) + 1
        return super().reduce(tokens, attention, stage)


class Inputs(KeyNorm):
    """Normalises the keys where they are."""

    name = "inputs"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        score = super().score(tokens, attention, stage)
        attention.k.data.div_(attention.k.data.norm(dim=-1, keepdim=True))
        return score


class Float16(KeyNorm):
    """Multiplies until float16 overflows."""

    name = "float16"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        score = super().score(tokens, attention, stage) * 1e5
        return score - score.mean(dim=1, keepdim=True)


class BFloat16(KeyNorm):
    """Goes through NumPy, which has no bfloat16."""

    name = "bfloat16"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        score = super().score(tokens, attention, stage).detach()
        return torch.from_numpy(np.asarray(score.numpy()))


class Gradients(KeyNorm):
    """Cuts the gradient off."""

    name = "gradients"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return tokens.with_x(tokens.x.detach()).keep_top(attention.score, stage.keep)


class Overhead(Method):
    """Compares all keys with one another, and says that this costs nothing."""

    name = "overhead"
    needs = Needs.KEYS

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        k = attention.k
        return (k @ k.transpose(-2, -1)).sum(dim=(1, 2))


class Boasts(KeyNorm):
    """Says that it costs a thousand times what it computes."""

    name = "boasts"

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        return 1000 * shape.heads * shape.tokens * shape.head_dim


class Nothing(Method):
    """Implements neither score nor reduce."""

    name = "nothing"


class Crashes(KeyNorm):
    """Divides by zero, in every call."""

    name = "crashes"
    needs = Needs.NOTHING

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return tokens.size * (1 / len(()))


class KeyAverage(KeyNorm):
    """Keeps the patch tokens whose keys were long so far, later blocks counting more."""

    name = "key-average"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        score, earlier = super().score(tokens, attention, stage), tokens.token_state.get("average")
        return score if earlier is None else 0.5 * earlier + 0.5 * score

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        carrying = tokens.with_token_state(average=attention.score)
        return carrying.keep_top(attention.score, stage.keep)


class LeakingState(KeyAverage):
    """Carries the average of the batch, not that of the image."""

    name = "leaking-state"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        mean = attention.score.mean(dim=0).expand_as(attention.score)
        return tokens.with_token_state(average=mean).keep_top(attention.score, stage.keep)


class UnseenState(KeyAverage):
    """Carries the image's place in the batch, which changes nothing yet."""

    name = "unseen-state"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        kept = super().reduce(tokens, attention, stage)
        return kept.with_state(place=torch.arange(len(tokens.x)))


CARRIED: dict[int, int] = {}


class LastingState(KeyAverage):
    """Takes up what it carried in the last forward pass."""

    name = "lasting-state"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        CARRIED[stage.block] = CARRIED.get(stage.block, 0) + 1
        kept = super().reduce(tokens, attention, stage)
        return kept.with_state(passes=torch.full_like(tokens.image, CARRIED[stage.block]))


class StaleState(KeyAverage):
    """Drops tokens by hand and forgets what they carry."""

    name = "stale-state"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        carrying = tokens.with_token_state(average=attention.score)
        kept = tokens.keep_top(attention.score, stage.keep)
        return replace(kept, token_state=carrying.token_state)


class WrittenState(KeyAverage):
    """Halves what it carries where it is."""

    name = "written-state"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        if tokens.token_state:
            tokens.token_state["average"].mul_(0.5)
        return super().reduce(tokens, attention, stage)
