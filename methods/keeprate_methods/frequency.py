"""Frequency-aware reduction: what is attended to stays, and the mean of everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import Shape

from .attention_score import AttentionScore

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens


class Frequency(AttentionScore):
    """Keep the patch tokens that receive most attention, and the mean of all others as one token.

    The attention matrix less its mean, A - 1/N, is what of it is no plain average: tokens with a
    large column mean in it carry high frequencies and stay; that is the order of `attention-score`,
    as 1/N is the same for all. The others are low frequencies, and their mean, the DC token, stands
    behind the kept ones. It is never ranked: at the next stage it takes in what is dropped there,
    as the mean of all dropped tokens so far. Source: Lee et al., "Frequency-Aware Token Reduction
    for Efficient Vision Transformer", NeurIPS 2025, without the reweighting of attention that the
    authors train, and with one DC token where they have four at the first stage.
    """

    name: ClassVar[str] = "frequency"
    appends = 1

    def __init__(self) -> None:
        super().__init__()  # what is in the mean cannot come back as well

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return prefix tokens, the `stage.keep` best patch tokens and the mean of the dropped."""
        import torch

        from keeprate.tokens import at_least_float32, take_rows

        score, mean = attention.score, tokens.token_state.get("mean")  # (B, N)
        if mean is not None:
            score = score.masked_fill(mean, -torch.inf)
        _, gone = tokens.top(score, stage.keep)
        exact = at_least_float32(tokens.x.dtype)
        size = tokens.size.gather(1, gone).to(exact)  # (B, R)
        share = size / size.sum(dim=1, keepdim=True)
        low = (share[:, None] @ take_rows(tokens.x, gone).to(exact))[:, 0]  # (B, C)
        # the mean so far is the last token: named first, it keeps its place in the image
        after = tokens.append(gone.flip(1), low.to(tokens.x.dtype))
        is_last = torch.arange(after.count, device=after.x.device) == after.count - 1
        return after.with_token_state(mean=is_last.expand(after.x.shape[0], -1))

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the column sums, per head, and the weighted sum of what goes into the mean."""
        return super().overhead_macs(shape, stage) + (shape.patches - stage.keep) * shape.channels
