"""Tiny models and inputs the tests share, and a way to watch a method at work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

from keeprate import Attention, Method, Needs, Stage, Tokens


def tiny_vit(name: str = "vit_tiny_patch16_224", *, seed: int = 0, **options: object) -> nn.Module:
    """Return a model of 25 patches, 3 heads and 4 blocks whose every parameter matters."""
    size = {"img_size": 20, "patch_size": 4, "embed_dim": 24, "num_heads": 3, "num_classes": 5}
    model = timm.create_model(name, **{**size, "depth": 4, **options}).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.25 if parameter.dim() > 1 else 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
        for block in model.blocks:
            sharpen(block.attn)
    return model


def sharpen(attention: nn.Module) -> None:
    """Make heads unlike each other, so that a filter on their variance has something to filter."""
    width = attention.qkv.in_features // attention.num_heads
    for head, factor in zip(range(attention.num_heads), (0.4, 1.0, 3.0), strict=False):
        rows = slice(head * width, (head + 1) * width)  # of the queries, which come first
        attention.qkv.weight[rows] *= factor


def images_for(model: nn.Module, batch: int = 3, *, seed: int = 1) -> Tensor:
    """Return random images (B, 3, H, W) in the model's precision."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch, 3, *model.patch_embed.img_size, generator=generator)
    return images.to(next(model.parameters()).dtype)


def random_tokens(
    batch: int = 2,
    patches: int = 12,
    *,
    prefix: int = 1,
    channels: int = 6,
    seed: int = 0,
    sizes: bool = False,
    trace: bool = False,
) -> Tokens:
    """Return float64 tokens with random embeddings and, if asked, random sizes."""
    from dataclasses import replace

    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, prefix + patches, channels, generator=generator, dtype=torch.float64)
    tokens = Tokens.of(x, num_prefix=prefix, has_class_token=prefix > 0, trace=trace)
    if not sizes:
        return tokens
    size = torch.randint(1, 5, tokens.size.shape, generator=generator).float()
    size[:, :prefix] = 1.0
    return replace(tokens, size=size, has_merged=True)


def random_attention(
    tokens: Tokens, *, heads: int = 3, width: int = 4, seed: int = 7, sharpness: float = 1.0
) -> Attention:
    """Return attention whose queries, keys and values are random, in float64."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, len(tokens.x), heads, tokens.count, width)
    q, k, v = torch.randn(shape, generator=generator, dtype=torch.float64)
    x_pre = torch.randn(tokens.x.shape, generator=generator, dtype=torch.float64)
    return Attention(q * sharpness, k, v, width**-0.5, None, x_pre, Needs.WEIGHTS)


@dataclass(frozen=True)
class Seen:
    """One call of a method's `reduce`: what it was given and what it returned."""

    tokens: Tokens
    attention: Attention
    stage: Stage
    after: Tokens


@contextmanager
def watched(method: Method) -> Iterator[list[Seen]]:
    """Record every call of `method.reduce` in the list this yields."""
    seen: list[Seen] = []
    original = method.reduce

    def recording(tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        after = original(tokens, attention, stage)
        seen.append(Seen(tokens, attention, stage, after))
        return after

    method.reduce = recording  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del method.reduce


def attention_of(attention: Attention, image: int) -> list[list[list[float]]]:
    """Return the weights of one image, head by head, each row a softmax written out."""
    from math import exp

    q, k = attention.q[image].tolist(), attention.k[image].tolist()
    bias = [0.0] * len(k[0])
    if attention.mask is not None:
        bias = attention.mask[image, 0, 0].tolist()
    heads = []
    for queries, keys in zip(q, k, strict=True):
        rows = []
        for query in queries:
            logits = [
                attention.scale * sum(a * b for a, b in zip(query, key, strict=True)) + extra
                for key, extra in zip(keys, bias, strict=True)
            ]
            highest = max(logits)
            powers = [exp(logit - highest) for logit in logits]
            rows.append([power / sum(powers) for power in powers])
        heads.append(rows)
    return heads
