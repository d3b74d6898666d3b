"""GTP: what tokens that go hold is propagated, along a graph, to those that stay."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import KeeprateError, Method, Needs, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens

Selection = Literal[
    "mixed-max",
    "mixed-mean",
    "sum-max",
    "class-max",
    "class-mean",
    "image-max",
    "image-mean",
    "diagonal-max",
    "diagonal-mean",
    "unlike-max",
    "unlike-mean",
]


class GTP(Method):
    """Propagate the tokens that go to their neighbours, on a graph of the embedded patches.

    The graph, made once before the first block, joins patches that touch (spatial), each patch with
    its `neighbours` of highest cosine (semantic), or both (mixed). At a stage every token that
    stays gains `alpha` times those of its neighbours that go, each times the weight of the edge;
    with `gone=mean` one token holds their mean instead, with `gone=drop` nothing does. With `scale`
    the tokens' scales, propagated as they are and 1 at first, weigh them as keys. `attention_share`
    below 1 sets the smallest attention weights of each head to 0, for the output and the scores.
    `selection` ranks the tokens: the default is the product of a token's largest attention to
    itself and the largest attention that it receives. Class token, distillation token and registers
    are neither on the graph nor ranked. Source: Xu et al., "GTP-ViT", WACV 2024 (arXiv 2311.03035).
    """

    name: ClassVar[str] = "gtp"
    needs = Needs.WEIGHTS
    default_schedule: ClassVar[str] = "r"

    def __init__(
        self,
        graph: Literal["mixed", "spatial", "semantic"] = "mixed",
        selection: Selection = "mixed-max",
        gone: Literal["propagate", "mean", "drop"] = "propagate",
        neighbours: int = 8,
        alpha: float = 0.2,
        scale: bool = True,
        attention_share: float = 1.0,
    ) -> None:
        if neighbours < 1:
            raise KeeprateError("neighbours must be at least 1")
        if not 0 <= alpha < inf:
            raise KeeprateError("alpha is 0 or more: a negative one could make a scale negative")
        if not 0 < attention_share <= 1:
            raise KeeprateError("attention_share is above 0 and at most 1")
        self.graph, self.selection, self.gone = graph, selection, gone
        self.neighbours, self.alpha, self.scale = neighbours, alpha, scale
        self.attention_share = attention_share
        self.appends = 1 if gone == "mean" else 0
        self.reweighs = attention_share < 1

    def prepare(self, tokens: Tokens) -> Tokens:
        """Return the tokens with the graph of their patches."""
        import torch

        from .token_graph import normalised, semantic_edges, spatial_edges

        if self.gone != "propagate":
            return tokens
        x = tokens.x[:, tokens.num_prefix :].to(tokens.size.dtype)
        batch, count = x.shape[:2]
        edges = torch.zeros(batch, count, count, dtype=torch.bool, device=x.device)
        if self.graph != "semantic":
            if tokens.grid is None:
                raise KeeprateError(
                    f"gtp:graph={self.graph} needs patches on a grid, and this model's are on "
                    "none: graph=semantic needs no grid"
                )
            edges = edges | spatial_edges(tokens.grid, x.device)
        if self.graph != "spatial":
            edges = edges | semantic_edges(x, self.neighbours)
        number = torch.arange(tokens.count, device=x.device).expand(batch, -1)
        return tokens.with_state(graph=normalised(edges, x.dtype)).with_token_state(
            patch=number - tokens.num_prefix, scale=torch.ones_like(tokens.size)
        )

    def reweigh(self, weights: Tensor, tokens: Tokens) -> Tensor:
        """Return the weights without the smallest of each head."""
        from .token_graph import sparse

        return sparse(weights, self.attention_share)

    def key_weights(self, tokens: Tokens) -> Tensor | None:
        """Return the tokens' scales (B, N), None where all are 1: before the first ones go."""
        graph = tokens.state.get("graph")
        if not self.scale or graph is None or tokens.num_patch_tokens == graph.shape[1]:
            return None
        return tokens.token_state["scale"]

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return what `selection` makes of the attention weights (B, N)."""
        from .token_graph import SELECTIONS

        return SELECTIONS[self.selection](attention.weights, tokens.num_prefix)

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Keep the `stage.keep` best patch tokens, with what the others give them."""
        from keeprate.tokens import at_least_float32, take_rows

        kept, gone = tokens.top(attention.score, stage.keep)
        exact = at_least_float32(tokens.x.dtype)
        if self.gone == "drop":
            return tokens.keep(kept)
        if self.gone == "mean":
            mean = take_rows(tokens.x, gone).to(exact).mean(dim=1)
            return tokens.append(gone, mean.to(tokens.x.dtype))
        prefix = tokens.num_prefix
        left = tokens.keep(kept)
        patch = tokens.token_state["patch"]
        rows = take_rows(tokens.state["graph"], patch.gather(1, kept[:, prefix:]))  # (B, K, n)
        columns = patch.gather(1, gone)[:, None].expand(-1, rows.shape[1], -1)
        edges = self.alpha * rows.gather(2, columns)  # (B, K, R)
        x, scale = left.x.clone(), left.token_state["scale"].clone()
        given = edges @ take_rows(tokens.x, gone).to(edges.dtype)  # (B, K, C)
        x[:, prefix:] = (x[:, prefix:] + given).to(x.dtype)
        scales = tokens.token_state["scale"].gather(1, gone)[..., None]
        scale[:, prefix:] += (edges @ scales)[..., 0]
        return left.with_x(x).with_token_state(scale=scale)

    def prepare_macs(self, shape: Shape) -> int:
        """Count the cosines of all pairs of patches, if the graph is semantic."""
        counts = self.gone == "propagate" and self.graph != "spatial"
        return shape.patches**2 * shape.channels if counts else 0

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count what is propagated or averaged, and the sums of attention weights."""
        removed = shape.patches - stage.keep
        sums = not self.selection.startswith(("class", "diagonal"))
        spent = shape.heads * shape.tokens**2 if sums else 0
        if self.gone == "propagate":
            spent += removed * stage.keep * (shape.channels + 1)
        return spent + (removed * shape.channels if self.gone == "mean" else 0)
