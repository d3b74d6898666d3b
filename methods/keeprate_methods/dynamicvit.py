"""DynamicViT: a small network, trained with the model, says which tokens to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import Shape

from .trained import Trained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class DynamicViT(Trained):
    """Keep the patch tokens that a trained predictor finds worth keeping.

    A predictor for each stage: half of a token's features, and the mean of the other half over all
    patch tokens, go through a network of three layers, whose first output is the logarithm of the
    probability to keep. `weights` is the checkpoint of a model that was trained with predictors; it
    is evaluated only: training draws instead of ranking. Source: Rao et al., "DynamicViT", NeurIPS
    2021 (arXiv 2106.02034), as in Haurum et al., "Which Tokens to Use?" (arXiv 2308.04657), whose
    checkpoints name the predictors `score_predictor.0` on.
    """

    name: ClassVar[str] = "dynamicvit"
    scores_block_output = True
    weights_prefix: ClassVar[str] = "score_predictor."
    shapes: ClassVar[Mapping[str, str]] = {
        "in_conv.0.weight": "C",
        "in_conv.0.bias": "C",
        "in_conv.1.weight": "C C",
        "in_conv.1.bias": "C",
        "out_conv.0.weight": "a C",
        "out_conv.0.bias": "a",
        "out_conv.2.weight": "b a",
        "out_conv.2.bias": "b",
        "out_conv.4.weight": "2 b",
        "out_conv.4.bias": "2",
    }

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the log-probabilities to keep (B, N); those of prefix tokens are 0."""
        import torch
        import torch.nn.functional as F

        from .layers import linear, normed

        layer = self.layer(stage, tokens.x)
        x = tokens.x[:, tokens.num_prefix :].to(layer["in_conv.0.weight"].dtype)
        hidden = F.gelu(linear(normed(x, layer, "in_conv.0."), layer, "in_conv.1."))
        half = hidden.shape[-1] // 2
        shared = hidden[..., half:].mean(dim=1, keepdim=True) + 1e-6  # as the authors have it
        hidden = torch.cat([hidden[..., :half], shared.expand(-1, x.shape[1], -1)], dim=-1)
        for name in ("out_conv.0.", "out_conv.2."):
            hidden = F.gelu(linear(hidden, layer, name))
        keep = linear(hidden, layer, "out_conv.4.").log_softmax(dim=-1)[..., 0]
        return F.pad(keep, (tokens.num_prefix, 0))

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the predictor's layers."""
        size, channels = self.sizes(stage), shape.channels
        per_token = channels**2 + size["a"] * channels + size["b"] * size["a"] + 2 * size["b"]
        return shape.patches * per_token
