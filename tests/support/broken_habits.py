"""Methods that break one promise each in how they work: state, randomness, precision, costs."""

from __future__ import annotations

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
