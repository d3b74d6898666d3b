"""PiToMe's energy of tokens, and the matching it orders, as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from keeprate.tokens import take_rows

from .matching import Match


def paper_energy(similarity: Tensor, margin: float, alpha: float) -> Tensor:
    """Return each pair's part of the energy: similarities below the margin count negatively."""
    below = alpha * torch.expm1(similarity - margin)
    return torch.where(similarity >= margin, similarity, below)


def repository_energy(similarity: Tensor, margin: float, alpha: float) -> Tensor:
    """Return each pair's part of the energy, the margin taken off those above it as well."""
    return F.elu(similarity - margin, alpha)


ENERGIES = {"paper": paper_energy, "repository": repository_energy}


def energy_match(
    similarity: Tensor, energy: Tensor, num_prefix: int, removed: int, *, protect: bool
) -> Match:
    """Match patch tokens in the order of `energy` (B, n); `removed` of set A merge into set B.

    `similarity` (B, n, n) is that of the patch tokens. Ranked by falling energy, every other token
    is in set A, the others in set B; each of A picks its most similar one of B, and the best pairs
    merge. With `protect` only the 2 `removed` tokens of most energy take part, so that all of A
    merge. What stays: prefix tokens, protected ones, what is left of A, B. Source: PiToMe,
    Algorithm 1 (arXiv 2405.16148).
    """
    ranked = energy.argsort(dim=1, descending=True, stable=True)
    taking_part = 2 * removed if protect else ranked.shape[1]
    pool, protected = ranked[:, :taking_part], ranked[:, taking_part:]
    set_a, set_b = pool[:, ::2], pool[:, 1::2]
    columns = set_b[:, None].expand(-1, set_a.shape[1], -1)
    best, partner = take_rows(similarity, set_a).gather(2, columns).max(dim=2)  # (B, |A|)
    best_first = best.argsort(dim=1, descending=True, stable=True)
    merging = best_first[:, :removed]
    left = set_a.gather(1, best_first[:, removed:])
    prefix = torch.arange(num_prefix, device=energy.device).expand(energy.shape[0], -1)
    return Match(
        set_a.gather(1, merging) + num_prefix,
        set_b.gather(1, partner.gather(1, merging)) + num_prefix,
        torch.cat([prefix, torch.cat([protected, left, set_b], dim=1) + num_prefix], dim=1),
    )
