"""LV-ViT written out from its description, slowly, with a loop for every image, head and token."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def logits(weights: Weights, images: Tensor, heads: int, skip_lam: float) -> Tensor:
    """Return logits (B, K) of a checkpoint's weights, by the names its authors gave them."""
    return torch.stack([one_image(weights, image, heads, skip_lam) for image in images])


def one_image(w: Weights, image: Tensor, heads: int, skip_lam: float) -> Tensor:
    tokens = torch.cat([w["cls_token"][0], patches(w, image)]) + w["pos_embed"][0]
    block = 0
    while f"blocks.{block}.norm1.weight" in w:
        own = {
            name.removeprefix(f"blocks.{block}."): value
            for name, value in w.items()
            if name.startswith(f"blocks.{block}.")
        }
        tokens = tokens + attention(own, normed(own, "norm1", tokens), heads) / skip_lam
        tokens = tokens + mlp(own, normed(own, "norm2", tokens)) / skip_lam
        block += 1
    tokens = normed(w, "norm", tokens)
    votes = [w["aux_head.weight"] @ token + w["aux_head.bias"] for token in tokens[1:]]
    best = torch.stack([max(vote[k] for vote in votes) for k in range(len(votes[0]))])
    return w["head.weight"] @ tokens[0] + w["head.bias"] + 0.5 * best


def patches(w: Weights, image: Tensor) -> Tensor:
    """Return a token for each patch, in rows: (N, C)."""
    x = image[None]
    for number, (stride, padding) in enumerate([(2, 3), (1, 1), (1, 1)], start=1):
        x = F.conv2d(x, w[f"patch_embed.conv{number}.weight"], stride=stride, padding=padding)
        mean, variance, weight, bias = (
            w[f"patch_embed.bn{number}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).clamp(min=0)
    kernel = w["patch_embed.proj.weight"]  # (C, width, side, side)
    side = kernel.shape[-1]
    rows, columns = x.shape[-2] // side, x.shape[-1] // side
    windows = [
        x[0, :, r * side : (r + 1) * side, c * side : (c + 1) * side]
        for r in range(rows)
        for c in range(columns)
    ]
    tokens = [(kernel * window).sum(dim=(1, 2, 3)) for window in windows]
    return torch.stack(tokens) + w["patch_embed.proj.bias"]


def normed(w: Weights, name: str, tokens: Tensor) -> Tensor:
    mean = tokens.mean(dim=-1, keepdim=True)
    variance = (tokens - mean).square().mean(dim=-1, keepdim=True)
    return (tokens - mean) / (variance + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(w: Weights, tokens: Tensor, heads: int) -> Tensor:
    width = tokens.shape[-1]
    size = width // heads
    q, k, v = (tokens @ w["attn.qkv.weight"][i * width : (i + 1) * width].T for i in range(3))
    outputs = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        scores = q[:, own] @ k[:, own].T / size**0.5
        exponents = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        outputs.append(exponents / exponents.sum(dim=-1, keepdim=True) @ v[:, own])
    joined = torch.cat(outputs, dim=-1)
    return joined @ w["attn.proj.weight"].T + w["attn.proj.bias"]


def mlp(w: Weights, tokens: Tensor) -> Tensor:
    hidden = tokens @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"]
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return hidden @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]
