"""PiToMe: merge tokens of large groups alike, and protect those that stand alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import KeeprateError, Method, Needs, Shape

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens


class PiToMe(Method):
    """Merge tokens that many others are like, and protect those that stand alone.

    A patch token's energy is high where many keys (averaged over heads) are like its own. A PiToMe
    step lets the 2 r tokens of most energy merge in pairs and protects all others; a BSM step lets
    any merge, in sets ordered by energy. Merging is by size-weighted mean. Source: Tran et al.,
    "Accelerating Transformers with Spectrum-Preserving Token Merging", NeurIPS 2024, the energy
    score and Algorithm 1 (arXiv 2405.16148).

    Parameters: `steps`, PiToMe steps everywhere, or BSM steps in the first half of the blocks
    ("bsm-first") or in the second ("pitome-first"); the `margin` of the first block, which falls
    linearly; `energy` of a pair, by the paper, or by the authors' code, which subtracts the margin
    from similarities above it as well; `alpha`, the weight of those below. The codes have no
    proportional attention.
    """

    name: ClassVar[str] = "pitome"
    needs = Needs.KEYS
    default_schedule: ClassVar[str] = "r"

    def __init__(
        self,
        steps: Literal["pitome", "bsm-first", "pitome-first"] = "pitome",
        margin: float = 0.9,
        energy: Literal["paper", "repository"] = "paper",
        alpha: float = 1.0,
        proportional_attention: bool = True,
    ) -> None:
        if alpha < 0:
            raise KeeprateError("alpha must not be negative")
        self.steps, self.margin, self.energy, self.alpha = steps, margin, energy, alpha
        self.proportional_attention = proportional_attention

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Merge until `stage.keep` patch tokens are left; at most half of them go at once."""
        from .energy import ENERGIES, energy_match
        from .similarity import cosine, patch_keys

        keys = patch_keys(tokens, attention)
        similarity = cosine(keys, keys)  # (B, n, n)
        margin = self.margin * (1 - stage.block / stage.depth)
        energy = ENERGIES[self.energy](similarity, margin, self.alpha).mean(dim=2)
        removed = tokens.num_patch_tokens - stage.keep
        protect = self.protects(stage)
        match = energy_match(similarity, energy, tokens.num_prefix, removed, protect=protect)
        return tokens.merge(match.source, match.into, match.order)

    def protects(self, stage: Stage) -> bool:
        """Tell whether this is a PiToMe step; if not, it is a BSM step."""
        in_first_half = 2 * stage.block < stage.depth
        return self.steps == "pitome" or in_first_half == (self.steps == "pitome-first")

    def most_removed(self, patches: int) -> int:
        """Return half of the patch tokens: only set A can merge away."""
        return patches // 2

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the similarities of all patch tokens and the merged tokens' weighted sums."""
        merged = shape.patches - stage.keep
        return shape.patches**2 * shape.head_dim + merged * shape.channels
