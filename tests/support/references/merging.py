"""Token merging for one image, and a whole forward pass with it, written out in loops."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn

from .similarity import Vector, cosine


@dataclass
class Merged:
    """What is left: for each token its members among the tokens before, in order."""

    groups: list[list[int]]

    def sizes(self, size: list[float]) -> list[float]:
        return [sum(size[member] for member in group) for group in self.groups]

    def means(self, x: list[Vector], size: list[float]) -> list[Vector]:
        out = []
        for group in self.groups:
            total = sum(size[member] for member in group)
            mean = []
            for channel in range(len(x[0])):
                mean.append(sum(size[member] * x[member][channel] for member in group) / total)
            out.append(mean)
        return out


def merge(metric: list[Vector], num_prefix: int, removed: int) -> Merged:
    """Merge `removed` tokens of the even positions into tokens of the odd ones."""
    count = len(metric)
    removed = min(removed, (count - num_prefix) // 2)
    set_a = [token for token in range(count) if token % 2 == 0 and token >= num_prefix]
    set_b = [token for token in range(count) if token % 2 == 1 and token >= num_prefix]
    edges = []
    for token in set_a:
        if set_b:
            best = max(set_b, key=lambda other: cosine(metric[token], metric[other]))
            edges.append((cosine(metric[token], metric[best]), token, best))
    edges.sort(key=lambda edge: -edge[0])
    into = {token: best for _, token, best in edges[:removed]}
    groups = [[token] for token in range(num_prefix)]
    groups += [[token] for token in set_a if token not in into]
    groups += [[token, *(a for a in set_a if into.get(a) == token)] for token in set_b]
    return Merged(groups)


def forward(model: nn.Module, image: Tensor, removals: list[int], proportional: bool) -> Tensor:
    """Return the logits (K,) of a plain timm ViT for one image, merging in every block."""
    prefix = model.num_prefix_tokens
    x = model.norm_pre(model._pos_embed(model.patch_embed(image[None])))[0]  # (N, C)
    size = [1.0] * len(x)
    for block, removed in zip(model.blocks, removals, strict=True):
        attended, keys = attention(block.attn, block.norm1(x), size if proportional else None)
        x = x + block.ls1(attended)
        merged = merge(keys, prefix, removed)
        x = torch.tensor(merged.means(x.tolist(), size), dtype=x.dtype)
        size = merged.sizes(size)
        x = x + block.ls2(block.mlp(block.norm2(x)))
    return model.forward_head(model.norm(x)[None])[0]


def attention(
    module: nn.Module, x: Tensor, size: list[float] | None
) -> tuple[Tensor, list[Vector]]:
    """Return what attention adds (N, C) and the key of each token, averaged over heads."""
    count, channels = x.shape
    width = channels // module.num_heads
    qkv = module.qkv(x)  # (N, 3 C): queries, keys, values, each head after head
    outputs = []
    keys = torch.zeros(count, width, dtype=x.dtype)
    for head in range(module.num_heads):
        q = qkv[:, head * width : (head + 1) * width]
        k = qkv[:, channels + head * width : channels + (head + 1) * width]
        v = qkv[:, 2 * channels + head * width : 2 * channels + (head + 1) * width]
        keys = keys + k / module.num_heads
        rows = []
        for i in range(count):
            logits = []
            for j in range(count):
                logit = float((q[i] * k[j]).sum()) / width**0.5
                logits.append(logit + (0.0 if size is None else log(size[j])))
            weights = torch.tensor(logits, dtype=x.dtype).softmax(dim=0)
            rows.append(sum(weights[j] * v[j] for j in range(count)))
        outputs.append(torch.stack(rows))
    return module.proj(torch.cat(outputs, dim=1)), keys.tolist()
