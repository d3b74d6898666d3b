"""DiffRate: prune by class attention, then merge, by numbers that were learned per block."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate import KeeprateError, Method, Needs, Preset, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens

_FILE = "diffrate_schedules.csv"


@cache
def learned() -> Mapping[str, tuple[Sequence[int], Sequence[int]]]:
    """Return the published counts by name: patch tokens left by pruning and by merging, by block.

    The class token, which the authors count, is not in them. A count above that of the block before
    has no effect, so that the smallest so far stands in its place.
    """
    with (Path(__file__).parent / _FILE).open(encoding="utf-8") as lines:
        return {
            row["name"]: (_smallest(row["kept_by_pruning"]), _smallest(row["kept_by_merging"]))
            for row in csv.DictReader(lines)
        }


def _smallest(counts: str) -> list[int]:
    return [count - 1 for count in accumulate(map(int, counts.split()), min)]


def _presets() -> dict[str, Preset]:
    return {
        name: Preset(
            ",".join(f"{keep}@{block}" for block, keep in enumerate(merged)),
            {"rates": name},
            note="learned by the authors; 196 patches",
        )
        for name, (_, merged) in learned().items()
    }


class DiffRate(Method):
    """Prune the patch tokens of least class attention, then merge the next into the best.

    Of the tokens that a stage removes, `prune_share` are pruned, those of least class attention;
    the rest, the next in rank, merge each into the token of highest cosine (of the embeddings)
    among those that stay: a plain mean, whatever their sizes. In the attention's logits the
    logarithm of a weight is added: a token's own weight plus those of its sources, each times the
    cosine. Negative cosines could make a weight negative: it stays above 0. `rates` names one of
    the authors' learned schedules, from which the numbers pruned are taken block by block; the
    presets set it. Source: Chen et al., "DiffRate", ICCV 2023 (arXiv 2305.17997).
    """

    name: ClassVar[str] = "diffrate"
    needs = Needs.CLASS_ROW
    requires_class_token: ClassVar[bool] = True
    default_schedule: ClassVar[str] = "r"
    presets: ClassVar[Mapping[str, Preset]] = _presets()
    reads: ClassVar[Sequence[str]] = (_FILE,)

    def __init__(self, rates: str = "", prune_share: float = 0.5) -> None:
        if rates and rates not in learned():
            raise KeeprateError(f"rates is one of {', '.join(learned())}, or empty, not '{rates}'")
        if not 0 <= prune_share <= 1:
            raise KeeprateError("prune_share is between 0 and 1")
        self.rates, self.prune_share = rates, prune_share

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the class row of the attention, averaged over heads (B, N)."""
        return attention.class_row.mean(dim=1)

    def key_weights(self, tokens: Tokens) -> Tensor | None:
        """Return the weights (B, N), sums of weights times cosines; None before any merge."""
        return tokens.token_state.get("weight")

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Prune and merge until `stage.keep` patch tokens are left, best first."""
        import torch

        from .matching import Match
        from .merging import means, merged
        from .similarity import cosine

        prefix, keep = tokens.num_prefix, stage.keep
        left = self._left_by_pruning(tokens.num_patch_tokens, stage)
        score = attention.score[:, prefix:]
        ranked = score.argsort(dim=1, descending=True, stable=True) + prefix
        batch, device = ranked.shape[0], ranked.device
        position = torch.arange(prefix + left, device=device).expand(batch, -1)
        kept = tokens.keep(torch.cat([position[:, :prefix], ranked[:, :left]], dim=1))
        if left == keep:
            return kept
        stays, source = position[:, : prefix + keep], position[:, prefix + keep :]
        x = kept.x.to(kept.size.dtype)
        similarity = cosine(x[:, prefix + keep :], x[:, prefix : prefix + keep])
        best, into = similarity.max(dim=2)
        match = Match(source, into + prefix, stays)
        weight = kept.token_state.get("weight", torch.ones_like(kept.size))
        weight = weight.scatter_add(1, match.into, best * weight.gather(1, source))
        weight = weight.clamp_min(torch.finfo(weight.dtype).tiny)
        reduced = merged(kept, match, means(kept.x, match))
        return reduced.with_token_state(weight=weight[:, : prefix + keep])

    def _left_by_pruning(self, patches: int, stage: Stage) -> int:
        if self.rates and stage.block < len(learned()[self.rates][0]):
            pruned = learned()[self.rates][0][stage.block]
            return max(stage.keep, min(patches, pruned))
        return patches - int((patches - stage.keep) * self.prune_share)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the class row, the cosines of what merges with what stays, and the sums."""
        merged = self._left_by_pruning(shape.patches, stage) - stage.keep
        row = shape.heads * shape.tokens * shape.head_dim
        return row + merged * stage.keep * shape.channels + merged * shape.channels
