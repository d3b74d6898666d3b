"""Clusterings of patch tokens, as pure functions: agglomerative, density peaks, and medoids.

A clustering is `into` (B, n): for each patch token the position, among the patch tokens, of the one
that stands for its cluster. Positions ascend, and ties go to the lowest.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from keeprate import KeeprateError
from keeprate.tokens import at_least_float32, take_rows


# SciPy is no part of a compiled graph
@torch.compiler.disable  # type: ignore[untyped-decorator]
def agglomerate(features: Tensor, clusters: int, linkage: str) -> Tensor:
    """Merge the nearest clusters of features (B, n, d) until `clusters` are left in each image.

    The distance is 1 minus the cosine, that of two clusters their `linkage`: the smallest
    ("single"), largest ("complete") or "average" one of their tokens. SciPy computes it on the
    processor, an image at a time. The first token of a cluster stands for it.
    """
    import numpy as np
    from scipy.cluster import hierarchy

    if torch.compiler.is_exporting():
        raise KeeprateError(
            "Agglomerative clustering runs in SciPy, which torch.export cannot record: run the "
            "model as it is."
        )
    batch, count = features.shape[:2]
    unit = F.normalize(features.detach(), dim=-1)
    distance = (1 - unit @ unit.transpose(1, 2)).double().cpu().numpy()
    pairs = np.triu_indices(count, 1)
    into = np.tile(np.arange(count), (batch, 1))
    for firsts, matrix in zip(into, distance, strict=True):
        # SciPy names a cluster by a token, or by `count` plus the number of the merge that made it
        first_of = list(range(count))
        for one, other in hierarchy.linkage(matrix[pairs], linkage)[: count - clusters, :2]:
            low, high = sorted((first_of[int(one)], first_of[int(other)]))
            firsts[firsts == high] = low
            first_of.append(low)
    return torch.from_numpy(into).to(features.device)


def distances(x: Tensor) -> Tensor:
    """Return the Euclidean distance of every pair of x (B, n, C), (B, n, n) float32 or wider."""
    x = x.detach().to(at_least_float32(x.dtype))
    # with matrix products, close points would lose all digits of their distance
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def nearest(distance: Tensor, centres: Tensor) -> Tensor:
    """Let each token join the nearest of `centres` (B, K), ascending; centres join themselves."""
    columns = centres[:, None].expand(-1, distance.shape[1], -1)
    into = centres.gather(1, distance.gather(2, columns).argmin(dim=2))
    return into.scatter(1, centres, centres)


def density_peaks(distance: Tensor, k: int) -> Tensor:
    """Return the logarithm of density times separation (B, n) of each token; centres have most.

    The density is exp(-mean of the `k` smallest squared `distance` (B, n, n)), the token's own
    included; the separation is the distance to the nearest denser token, or the largest in the
    image. The logarithm ranks alike, and no density vanishes in it. Source: DPC-KNN, as in TCFormer
    (arXiv 2204.08680).
    """
    closest = distance.square().topk(min(k, distance.shape[2]), dim=2, largest=False).values
    density = -closest.mean(dim=2)  # (B, n)
    denser = density[:, None] > density[:, :, None]  # (B, n, n): j is denser than i
    nearest_denser = distance.masked_fill(~denser, torch.inf).amin(dim=2)
    separation = torch.where(denser.any(dim=2), nearest_denser, distance.amax(dim=(1, 2))[:, None])
    return density + separation.log()


def best(score: Tensor, number: int) -> Tensor:
    """Return the positions (B, number) of the highest scores (B, n), ascending."""
    ranked = score.argsort(dim=1, descending=True, stable=True)
    return ranked[:, :number].sort(dim=1).values


def farthest_first(distance: Tensor, number: int, *, from_nearest: bool) -> Tensor:
    """Return `number` tokens (B, number), ascending: the first, then always the farthest one.

    How far a token is from those chosen is its distance to the nearest, or to the farthest of them.
    """
    chosen = distance.new_zeros(distance.shape[0], 1, dtype=torch.int64)
    far = distance[:, 0]
    for _ in range(number - 1):
        # below every distance: a chosen token is not chosen again where all are equal
        latest = far.scatter(1, chosen, -1.0).argmax(dim=1, keepdim=True)
        chosen = torch.cat([chosen, latest], dim=1)
        row = take_rows(distance, latest)[:, 0]
        far = far.minimum(row) if from_nearest else far.maximum(row)
    return chosen.sort(dim=1).values


def medoids(
    distance: Tensor, weight: Tensor, first: Tensor, iterations: int, *, of_cluster: bool
) -> Tensor:
    """Return the medoids (B, K), ascending, after some `iterations` from those of `first` (B, K).

    Each time every token joins its nearest medoid, and the member of a cluster with the smallest
    cost is its new medoid: the sum of the distances to its cluster, each times the other token's
    `weight` (B, n); or, unless `of_cluster`, the token's own weight times its distances to all.
    """
    found = first
    for _ in range(iterations):
        into = nearest(distance, found)
        if of_cluster:
            together = distance * (into[:, :, None] == into[:, None])
            cost = (together @ weight[..., None])[..., 0]
        else:
            cost = weight * distance.sum(dim=2)
        members = into[:, None] == found[..., None]  # (B, K, n)
        cost_in_cluster = cost[:, None].masked_fill(~members, torch.inf)
        found = cost_in_cluster.argmin(dim=2).sort(dim=1).values
    return found
