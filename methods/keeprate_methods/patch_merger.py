"""PatchMerger: trained queries gather the patch tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import Shape

from .trained import Trained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keeprate import Attention, Stage, Tokens


class PatchMerger(Trained):
    """Gather the patch tokens by as many trained queries as tokens are to be left.

    The softmax of a query's products with all patch tokens, after a layer norm, are the shares of
    which the new token is the sum; what is summed has passed the norm, too. `weights` is the
    checkpoint of a model that was trained so; it fixes how many tokens each stage leaves, and is
    evaluated only. Source: Renggli et al., "Learning to Merge Tokens in Vision Transformers", 2022
    (arXiv 2202.12015), as in Haurum et al., "Which Tokens to Use?" (arXiv 2308.04657), whose
    checkpoints name the layers `cluster_layers.0` on.

    Each token that is left is made of all patches: for sizes and pictures it stands for a stretch
    of the sequence, as in `dct`.
    """

    name: ClassVar[str] = "patch-merger"
    weights_prefix: ClassVar[str] = "cluster_layers."
    shapes: ClassVar[Mapping[str, str]] = {
        "queries": "K C",
        "norm.weight": "C",
        "norm.bias": "C",
    }

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return prefix tokens and what `stage.keep` queries gather."""
        from .layers import normed
        from .stretches import by_stretches

        layer = self.layer(stage, tokens.x)
        x = tokens.x[:, tokens.num_prefix :].to(layer["queries"].dtype)
        x = normed(x, layer, "norm.")
        shares = (layer["queries"] @ x.transpose(1, 2)).softmax(dim=-1)  # (B, K, n)
        return by_stretches(tokens, shares @ x)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the queries' products and the sums."""
        return 2 * shape.patches * stage.keep * shape.channels
