"""Sinkhorn: patch tokens are transported to trained centres."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import Shape

from .trained import Trained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


ROUNDS = 3
"""How often both sums of the plan are set right."""


class Sinkhorn(Trained):
    """Sum the patch tokens by a balanced assignment to trained centres.

    The cosines of centres and patch tokens become a plan that shares out all patch tokens, and
    gives each centre nearly as much, by three rounds of Sinkhorn's scaling; a new token is the sum
    of the patch tokens at length 1, by its centre's row of the plan. `weights` is the checkpoint of
    a model that was trained so; it fixes how many tokens each stage leaves, and is evaluated only.
    Source: the baseline "Sinkhorn" of Haurum et al., "Which Tokens to Use?", ICCVW 2023 (arXiv
    2308.04657), whose checkpoints name the centres `cluster_layers.0.v` on.

    Each token that is left is made of all patches: for sizes and pictures it stands for a stretch
    of the sequence, as in `dct`.
    """

    name: ClassVar[str] = "sinkhorn"
    weights_prefix: ClassVar[str] = "cluster_layers."
    shapes: ClassVar[Mapping[str, str]] = {"v": "K C"}

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return prefix tokens and the sums of `stage.keep` centres."""
        import torch.nn.functional as F

        from .stretches import by_stretches

        centres = F.normalize(self.layer(stage, tokens.x)["v"], dim=-1)  # (K, C)
        x = F.normalize(tokens.x[:, tokens.num_prefix :].to(centres.dtype), dim=-1)
        return by_stretches(tokens, plan(centres @ x.transpose(1, 2)) @ x)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the cosines and the sums."""
        return 2 * shape.patches * stage.keep * shape.channels


def plan(cosine: Tensor) -> Tensor:
    """Return a plan of `cosine` (B, K, n): columns sum to 1, rows all to nearly the same."""
    row, column = cosine[..., :1] * 0, cosine[..., :1, :] * 0
    for _ in range(ROUNDS):
        row = -(cosine + column).logsumexp(dim=2, keepdim=True)
        column = -(cosine + row).logsumexp(dim=1, keepdim=True)
    return (cosine + row + column).exp()
