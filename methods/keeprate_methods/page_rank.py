"""Weighted page rank on the attention graph, and how its heads make one score."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from keeprate.tokens import at_least_float32

MOST_ITERATIONS = 100
"""Where a tolerance alone decides, the iterations stop here at the latest."""

_NEXT_TO_NOTHING = 1e-8
"""What a head counts beside one that counts 1: its square is lost in the rounding of 1."""
MOST_FUSED = 2048
"""Tokens up to which a GPU computes a page rank in one launch."""

SUM_ONE_EVERY = 4
"""Iterations after which the sum is made 1 again; with emphasis it is n**2 by then, at most."""


def page_rank(
    weights: Tensor,
    *,
    iterations: int,
    emphasis: str = "none",
    alive: Tensor | None = None,
    renormalise: bool = True,
    tolerance: float | None = None,
) -> Tensor:
    """Return the graph signal (B, H, N) of every token, float32 or wider, summing to 1.

    `weights` (B, H, N, N) are row-stochastic; a token is important when important tokens attend to
    it: s <- A^T s from a uniform start. `emphasis` counts the class token (position 0) sqrt(n)
    times, before "every" iteration, at the "start" only, or not at all ("none"), n being the number
    of nodes. `alive` (B, N) bool restricts the graph to some tokens, as many in every image; rows
    of the restricted matrix are made to sum to 1 again if `renormalise`. With `tolerance` an
    image's head stops when its signal changes by less (L1), after at most `MOST_ITERATIONS`.

    Source: Zero-TPrune, Algorithm 1 (arXiv 2305.17328). Each step is one row vector times the
    matrix as it lies in memory; the restriction is folded into the vector, so the matrix is never
    copied. On a GPU all steps are one launch (page_rank_kernel.py), up to `MOST_FUSED` tokens,
    where Triton runs and no gradients are asked for; elsewhere a step is two and more. Squaring the
    matrix, 30 steps by four squarings, takes fewer launches but 4 N**3 operations for 30 N**2: four
    times as long with 197 tokens on a CPU, and half as long with 17 (docs/benchmarks.md).
    """
    limit = iterations if tolerance is None else MOST_ITERATIONS
    if _fits_kernel(weights):
        try:
            from .page_rank_kernel import fused_page_rank

            with torch.cuda.device(weights.device):
                return fused_page_rank(weights, limit, emphasis, alive, renormalise, tolerance)
        # without Triton, a compiler for it, or a GPU it knows; other troubles come again below
        except Exception as error:
            reason = str(error).partition("\n")[0]
            message = f"The page rank is slow here, as Triton fails: {reason}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
    return by_products(weights, limit, emphasis, alive, renormalise, tolerance)


def by_products(
    weights: Tensor,
    iterations: int,
    emphasis: str,
    alive: Tensor | None,
    renormalise: bool,
    tolerance: float | None,
) -> Tensor:
    """Return what `page_rank` returns, on any device; with a `tolerance`, `iterations` at most."""
    # half precision would round away the differences between tokens as the signal converges
    weights = weights.to(at_least_float32(weights.dtype))
    nodes = torch.ones_like(weights[:, 0, 0]) if alive is None else alive.to(weights.dtype)
    nodes = nodes[:, None, None, :]  # (B, 1, 1, N)
    gain = _row_gain(weights, nodes, renormalise) if alive is not None else nodes
    walk = _RandomWalk(weights, nodes, gain, emphasis)
    return walk.after([iterations])[0] if tolerance is None else walk.until(tolerance, iterations)


def _fits_kernel(weights: Tensor) -> bool:
    return (
        weights.is_cuda
        and weights.dtype in (torch.float16, torch.bfloat16, torch.float32)
        and weights.shape[-1] <= MOST_FUSED
        and not (weights.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_exporting()  # a program for any device
    )


def page_rank_after(weights: Tensor, iterations: Sequence[int], emphasis: str = "none") -> Tensor:
    """Return the graph signals (T, B, H, N) after each of T ascending numbers of `iterations`.

    Each is what `page_rank` returns for that number on all tokens, in one walk for all of them.
    """
    nodes = torch.ones_like(weights[:, :1, :1])  # (B, 1, 1, N)
    return torch.stack(_RandomWalk(weights, nodes, nodes, emphasis).after(iterations))


class _RandomWalk:
    """Page rank, step by step, on `weights` (B, H, N, N) restricted to `nodes` (B, 1, 1, N).

    `gain`, of the shape of a signal or of `nodes`, multiplies each row's signal in every step; it
    is 0 outside the graph, so what tokens there receive is never sent on.
    """

    def __init__(self, weights: Tensor, nodes: Tensor, gain: Tensor, emphasis: str) -> None:
        self.weights, self.nodes = weights, nodes
        boost = torch.ones_like(nodes)
        boost[..., 0] = nodes.sum(dim=-1).sqrt()
        first = nodes * boost if emphasis == "start" else nodes
        self.start = _normalised(first.expand(_row(weights)))
        self.gain = gain * boost if emphasis == "every" else gain

    def after(self, iterations: Sequence[int]) -> list[Tensor]:
        """Return the signals (B, H, N) after each of ascending numbers of `iterations`.

        A step is linear, so a signal's sum has no influence on the next signals' proportions: it
        is made 1 in what is returned, and now and then to stay within the range of numbers.
        """
        found, signal = {}, self.start
        for number in range(1, max(iterations) + 1):
            signal = self._received(signal)
            if number in iterations:
                found[number] = self._in_graph(signal)[:, :, 0]
            if number % SUM_ONE_EVERY == 0:
                signal = self._in_graph(signal)
        return [found[number] for number in iterations]

    def until(self, tolerance: float, most: int) -> Tensor:
        """Return every head's signal (B, H, N) once it changes by less, after `most` iterations."""
        signal = self.start
        for _ in range(most):
            after = self._in_graph(self._received(signal))
            settled = (after - signal).abs().sum(dim=-1, keepdim=True) < tolerance
            signal = torch.where(settled, signal, after)  # what is no number goes on, and is seen
            if settled.all():
                break
        return signal[:, :, 0]

    def _received(self, signal: Tensor) -> Tensor:
        """Return what one more iteration gives every token (B, H, 1, N), in the graph or not."""
        return (signal * self.gain) @ self.weights

    def _in_graph(self, received: Tensor) -> Tensor:
        return _normalised(received * self.nodes)


def _row(weights: Tensor) -> tuple[int, int, int, int]:
    batch, heads, count = weights.shape[:3]
    return batch, heads, 1, count


def _row_gain(weights: Tensor, nodes: Tensor, renormalise: bool) -> Tensor:
    """Return what each row's signal is multiplied by so that its restricted row sums to 1."""
    if not renormalise:
        return nodes
    sums = (weights @ nodes.transpose(-2, -1)).transpose(-2, -1)  # (B, H, 1, N)
    # a row may put all its weight on tokens that are gone, so that its sum is 0; the bound leaves
    # room for the class token's emphasis and for a sum that has grown
    return nodes / sums.clamp_min(torch.finfo(weights.dtype).tiny ** 0.5)


def _normalised(signal: Tensor) -> Tensor:
    return signal / signal.sum(dim=-1, keepdim=True)


def head_weights(signal: Tensor, v_min: float, v_max: float, nodes: int) -> Tensor:
    """Return how much each head counts (B, H) (the Variance-based Head Filter, VHF).

    A head of `signal` (B, H, n), of patch tokens, counts 1 if the variance of its scores, rescaled
    to mean 1, lies in [v_min, v_max], and next to nothing if not: where no head passes, all count
    alike. `nodes` of the patch tokens are in the graph; the scores of the others are 0. Source:
    Zero-TPrune, section 3.2.
    """
    variance = head_variance(signal)
    # with zeros among the scores the variance is another; the bounds are moved, which costs nothing
    share = signal.shape[-1] / nodes
    low, high = (share * (1 + bound) - 1 for bound in (v_min, v_max))
    return (variance == variance.clamp(low, high)) + _NEXT_TO_NOTHING


def head_variance(signal: Tensor) -> Tensor:
    """Return the variance (B, H) of each head's scores over patch tokens, rescaled to mean 1."""
    if not signal.shape[0]:  # of nothing there is no variance, and torch would warn
        return signal[..., 0]
    variance, mean = torch.var_mean(signal, dim=-1, correction=0)
    return variance / mean.square()


def aggregate(signal: Tensor, heads: Tensor, how: str, *, scaled: bool = True) -> Tensor:
    """Return one score per token (B, N) from `signal` (B, H, N); `heads` (B, H) count so much.

    `rms` is the paper's Emphasizing Informative Region (EIR), the root mean square; `mean`; `max`.
    Not `scaled`, each image's scores are a multiple of that, which ranks alike.
    """
    over = AGGREGATIONS[how]
    score = over(signal * heads[..., None])
    return score / over(heads[..., None]) if scaled else score


def _length(values: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(values, dim=1)
    return length


AGGREGATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "rms": _length,
    "mean": lambda values: values.sum(dim=1),
    "max": lambda values: values.amax(dim=1),
}
"""What is taken over heads, (B, H, N) -> (B, N), and divided by the same of what each counts."""
