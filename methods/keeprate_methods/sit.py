"""SiT: each token that is left is a trained mixture of all patch tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import Shape

from .trained import Trained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keeprate import Attention, Stage, Tokens


class SiT(Trained):
    """Mix all patch tokens to fewer, by weights that a trained network gives each token.

    A network of two layers gives every patch token one number for each token that is to be left;
    the softmax of these numbers, times a trained scale, over the patch tokens are the shares of
    which the new token is the sum. `weights` is the checkpoint of a model that was trained so; it
    fixes how many tokens each stage leaves, and is evaluated only. Source: Zong et al.,
    "Self-slimmed Vision Transformer", ECCV 2022 (arXiv 2111.12624), as in Haurum et al., "Which
    Tokens to Use?" (arXiv 2308.04657), whose checkpoints name the layers `cluster_layers.0` on.

    Each token that is left is made of all patches: for sizes and pictures it stands for a stretch
    of the sequence, as in `dct`.
    """

    name: ClassVar[str] = "sit"
    weights_prefix: ClassVar[str] = "cluster_layers."
    shapes: ClassVar[Mapping[str, str]] = {
        "scale": "1 1 1",
        "weight.0.weight": "C",
        "weight.0.bias": "C",
        "weight.1.weight": "a C",
        "weight.1.bias": "a",
        "weight.3.weight": "K a",
        "weight.3.bias": "K",
    }

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return prefix tokens and `stage.keep` mixtures."""
        import torch.nn.functional as F

        from .layers import linear, normed
        from .stretches import by_stretches

        layer = self.layer(stage, tokens.x)
        x = tokens.x[:, tokens.num_prefix :].to(layer["scale"].dtype)
        hidden = F.gelu(linear(normed(x, layer, "weight.0."), layer, "weight.1."))
        shares = (linear(hidden, layer, "weight.3.") * layer["scale"]).softmax(dim=1)  # (B, n, K)
        return by_stretches(tokens, shares.transpose(1, 2) @ x)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the network and the mixtures."""
        inner = self.sizes(stage)["a"]
        return shape.patches * (inner * (shape.channels + stage.keep) + stage.keep * shape.channels)
