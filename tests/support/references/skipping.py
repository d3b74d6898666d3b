"""A slow, written-out model of which some tokens bypass blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def skipped_logits(
    vit: nn.Module,
    images: Tensor,
    ranking: Callable[[int, Tensor], Tensor],
    stages: Mapping[int, int],
    back: tuple[int, ...] = (),
) -> Tensor:
    """Return the logits of a timm model in which only some tokens pass each block, image by image.

    `stages` says how many patch tokens pass on at a block, after its attention. `ranking` gives the
    block's attention output x (N, C) of the tokens that passed it, as scores (N,).
    """
    return torch.cat([_one(vit, image[None], ranking, stages, back) for image in images])


def _one(
    vit: nn.Module,
    image: Tensor,
    ranking: Callable[[int, Tensor], Tensor],
    stages: Mapping[int, int],
    back: tuple[int, ...],
) -> Tensor:
    rows = list(vit.norm_pre(vit._pos_embed(vit.patch_embed(image)))[0])
    prefix, passing = vit.num_prefix_tokens, list(range(len(rows)))
    for number, block in enumerate(vit.blocks):
        if number in back:
            passing = list(range(len(rows)))
        x = torch.stack([rows[place] for place in passing])
        x = x + block.attn(block.norm1(x)[None])[0]
        for place, row in zip(passing, x, strict=True):
            rows[place] = row
        if number in stages:
            scores = ranking(number, x).tolist()
            patches = range(prefix, len(passing))
            best = sorted(patches, key=lambda i: (-scores[i], i))[: stages[number]]
            passing = [passing[i] for i in [*range(prefix), *sorted(best)]]
        for place in passing:
            rows[place] = rows[place] + block.mlp(block.norm2(rows[place]))
    return vit.forward_head(vit.norm(torch.stack(rows)[None]))
