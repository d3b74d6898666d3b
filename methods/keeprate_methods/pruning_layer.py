"""Zero-TPrune's pruning layer: the I'-, S- and I-stages in any pattern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from keeprate import Attention, Stage, Tokens, uniform
from keeprate.tokens import at_least_float32, take_rows

from .layer_settings import LayerSettings
from .page_rank import aggregate, head_weights, page_rank
from .similarity import cosine, redundant


@dataclass
class Layer:
    """The state of one pruning layer on a few images: which tokens are alive, and their ranking.

    Positions are those among the patch tokens.
    """

    settings: LayerSettings
    tokens: Tokens
    attention: Attention
    stage: Stage
    alive: Tensor | None = None  # (B, N) bool, None: all
    gone: list[Tensor] = field(default_factory=list)  # each (B, r), what was dropped
    rank: Tensor | None = None  # (B, N), what the I'-stage found
    signal: Tensor | None = None  # (B, N), what the I-stage found

    @property
    def left(self) -> int:
        """How many patch tokens of each image are alive."""
        return self.tokens.num_patch_tokens - sum(part.shape[1] for part in self.gone)

    def of_patches(self, values: Tensor) -> Tensor:
        """Return the part (B, n) of values (B, N) that is the patch tokens'."""
        return values[:, self.tokens.num_prefix :]

    def importance(
        self, iterations: int, tolerance: float | None = None, *, scaled: bool = False
    ) -> Tensor:
        """Return the page rank of the tokens alive, heads filtered and aggregated (B, N).

        Not `scaled`, it ranks the tokens of an image and is a multiple of it.
        """
        signal = page_rank(
            self.attention.weights,
            iterations=iterations,
            emphasis=emphasis_on(self.settings, self.tokens),
            alive=self.alive,
            renormalise=self.settings.renormalise,
            tolerance=tolerance,
        )
        prefix = self.tokens.num_prefix
        return combined(self.settings, signal, prefix, self.left, scaled=scaled)

    def ranked(self, score: Tensor) -> Tensor:
        """Return the positions of the patch tokens alive, best first (B, left)."""
        patches = self.of_patches(score)
        if self.alive is not None:
            patches = patches.masked_fill(~self.of_patches(self.alive), -torch.inf)
        return patches.argsort(dim=1, descending=True, stable=True)[:, : self.left]

    def drop(self, positions: Tensor) -> None:
        """Take the patch tokens at `positions` (B, r) out of the graph."""
        shape, device = self.tokens.x.shape[:2], self.tokens.x.device
        if self.alive is None:
            self.alive = torch.ones(shape, dtype=torch.bool, device=device)
        self.of_patches(self.alive).scatter_(1, positions, False)
        self.gone.append(positions)


def emphasis_on(settings: LayerSettings, tokens: Tokens) -> str:
    """Return how often the class token is emphasised: never where there is none."""
    return settings.emphasis if tokens.has_class_token else "none"


def combined(
    settings: LayerSettings, signal: Tensor, num_prefix: int, nodes: int, *, scaled: bool = True
) -> Tensor:
    """Return one score per token (B, N) from `signal` (B, H, N): heads filtered and aggregated.

    The variance of a head is that over the patch tokens, of which `nodes` are in the graph.
    """
    if settings.head_filter:
        patches = signal[..., num_prefix:]
        heads = head_weights(patches, settings.v_min, settings.v_max, nodes)
    else:
        heads = torch.ones_like(signal[..., 0])
    return aggregate(signal, heads, settings.heads, scaled=scaled)


@torch.no_grad()
def layer_score(
    settings: LayerSettings, tokens: Tokens, attention: Attention, stage: Stage
) -> Tensor:
    """Return a score (B, N) whose best `stage.keep` patch tokens are those the layer keeps.

    Tokens that the S-stage drops score minus infinity, the others a multiple of their latest
    importance.
    """
    layer = Layer(settings, tokens, attention, stage)
    removals = settings.removals(tokens.num_patch_tokens, stage.keep)
    parts = settings.pattern.split("-")
    if parts[-1] == "I":
        removals["I"] = 0  # whoever keeps the best tokens by the score drops what is left to drop
    for part in parts:
        PARTS[part](layer, removals.get(part, 0))
    score = layer.signal if layer.signal is not None else layer.rank
    score = torch.zeros_like(tokens.x[..., 0]) if score is None else score
    for positions in layer.gone:
        layer.of_patches(score).scatter_(1, positions, -torch.inf)
    return score


def _pre_rank(layer: Layer, removed: int) -> None:
    """I': one iteration ranks the tokens and drops none."""
    layer.rank = layer.importance(1)


def _similarity(layer: Layer, removed: int) -> None:
    """S: of the most similar pairs one token goes."""
    if not removed:
        return
    settings, rank = layer.settings, layer.rank
    if rank is None or settings.partition == "random":
        tokens, stream = layer.tokens, layer.stage.block
        rank = uniform(tokens.image, tokens.count, seed=settings.seed, stream=stream)
    features = features_of(settings, layer.tokens, layer.attention)[:, layer.tokens.num_prefix :]
    layer.drop(
        redundant(layer.ranked(rank), features, removed, settings.partition, settings.similarity)
    )


def _importance(layer: Layer, removed: int) -> None:
    """I: the least important tokens of the graph that is left go."""
    settings, stage = layer.settings, layer.stage
    iterations = settings.iterations_at(stage.block, stage.depth)
    layer.signal = layer.importance(iterations, settings.tolerance)
    if removed:
        layer.drop(layer.ranked(layer.signal)[:, layer.left - removed :])


PARTS: dict[str, Callable[[Layer, int], None]] = {
    "I'": _pre_rank,
    "S": _similarity,
    "I": _importance,
}


def _of_heads(per_head: Tensor, heads: str) -> Tensor:
    """Turn (B, H, N, d) into one vector per token: (B, N, H d) or the mean over heads (B, N, d)."""
    return per_head.transpose(1, 2).flatten(2) if heads == "concat" else per_head.mean(dim=1)


FEATURES: dict[str, Callable[[Tokens, Attention, str], Tensor]] = {
    "key": lambda tokens, attention, heads: _of_heads(attention.k, heads),
    "query": lambda tokens, attention, heads: _of_heads(attention.q, heads),
    "value": lambda tokens, attention, heads: _of_heads(attention.v, heads),
    "x_pre": lambda tokens, attention, heads: attention.x_pre,
    "x": lambda tokens, attention, heads: tokens.x,
}
"""What the S-stage compares, (B, N, D)."""


def features_of(settings: LayerSettings, tokens: Tokens, attention: Attention) -> Tensor:
    """Return what tokens are compared by (B, N, D), in float32 or wider."""
    features = FEATURES[settings.feature](tokens, attention, settings.feature_heads)
    return features.to(at_least_float32(features.dtype))


def absorb(settings: LayerSettings, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
    """Drop tokens; their size (and with `merge` features) goes to the most similar kept one."""
    kept, dropped = tokens.top(attention.score, stage.keep)
    patches = kept[:, tokens.num_prefix :]
    features = features_of(settings, tokens, attention)
    nearest = cosine(take_rows(features, dropped), take_rows(features, patches)).argmax(dim=2)
    into = patches.gather(1, nearest)
    return tokens.merge(dropped, into, kept, average=settings.on_drop == "merge")
