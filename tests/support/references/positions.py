"""Token merging for one image where attention depends on positions, written out in loops."""

from __future__ import annotations

from math import log
from typing import Protocol

import torch
from torch import Tensor, nn

from .merging import merge


class Positions(Protocol):
    """What positions do to one head of one block; `place` is where a token stood at first."""

    def turned(self, vector: Tensor, place: int, block: int, head: int) -> Tensor:
        """Return a query or key (d,) as the attention sees it."""
        ...

    def bias(self, query: int, key: int, block: int, head: int) -> float:
        """Return what is added to a logit."""
        ...


def forward(
    model: nn.Module, x: Tensor, removals: list[int], positions: Positions, *, proportional: bool
) -> Tensor:
    """Return the logits (K,) for tokens (N, C) that enter the first block, merging in each.

    For pre-norm models with a class token, which the head reads.
    """
    size, place = [1.0] * len(x), list(range(len(x)))
    for index, (block, removed) in enumerate(zip(model.blocks, removals, strict=True)):
        logs = [log(each) if proportional else 0.0 for each in size]
        attended, keys = attention(block.attn, block.norm1(x), positions, index, place, logs)
        x = x + (attended if block.gamma_1 is None else block.gamma_1 * attended)
        merged = merge(keys, model.num_prefix_tokens, removed)
        x = torch.tensor(merged.means(x.tolist(), size), dtype=x.dtype)
        size, place = merged.sizes(size), [place[group[0]] for group in merged.groups]
        branch = block.mlp(block.norm2(x))
        x = x + (branch if block.gamma_2 is None else block.gamma_2 * branch)
    return model.forward_head(model.norm(x)[None])[0]


def attention(
    module: nn.Module,
    x: Tensor,
    positions: Positions,
    block: int,
    place: list[int],
    logs: list[float],
) -> tuple[Tensor, list[list[float]]]:
    """Return what attention adds (N, C) and the key of each token, averaged over heads."""
    heads, width = module.num_heads, x.shape[1] // module.num_heads
    bias = module.qkv.bias
    if bias is None:
        bias = torch.cat([module.q_bias, torch.zeros_like(module.q_bias), module.v_bias])
    q, k, v = (x @ module.qkv.weight.T + bias).reshape(len(x), 3, heads, width).unbind(1)
    outputs, mean_keys = [], torch.zeros(len(x), width, dtype=x.dtype)
    for head in range(heads):
        tokens = range(len(x))
        queries = [positions.turned(q[i, head], place[i], block, head) for i in tokens]
        keys = [positions.turned(k[i, head], place[i], block, head) for i in tokens]
        rows = []
        for i in tokens:
            logits = []
            for j in tokens:
                logit = float((queries[i] * keys[j]).sum()) / width**0.5 + logs[j]
                logits.append(logit + positions.bias(place[i], place[j], block, head))
            weights = torch.tensor(logits, dtype=x.dtype).softmax(dim=0)
            rows.append(sum(weights[j] * v[j, head] for j in tokens))
        outputs.append(torch.stack(rows))
        mean_keys = mean_keys + torch.stack(keys) / heads
    return module.proj(torch.cat(outputs, dim=1)), mean_keys.tolist()


class Mixed:
    """Rotary embedding with frequencies of each block and head (Heo et al., ECCV 2024, eq. 14)."""

    def __init__(self, model: nn.Module) -> None:
        self.frequencies = model.rope.freqs.detach()  # (2, depth, H, d / 2)
        self.prefix, self.columns = model.num_prefix_tokens, model.patch_embed.grid_size[1]

    def turned(self, vector: Tensor, place: int, block: int, head: int) -> Tensor:
        """Turn each pair of channels by the patch's column and row times its frequencies."""
        if place < self.prefix:
            return vector
        row, column = divmod(place - self.prefix, self.columns)
        along_columns, along_rows = self.frequencies[:, block, head]
        out = vector.clone()
        for pair in range(len(vector) // 2):
            angle = column * along_columns[pair] + row * along_rows[pair]
            a, b = vector[2 * pair], vector[2 * pair + 1]
            out[2 * pair] = a * angle.cos() - b * angle.sin()
            out[2 * pair + 1] = a * angle.sin() + b * angle.cos()
        return out

    def bias(self, query: int, key: int, block: int, head: int) -> float:
        """Return nothing: positions act by turning."""
        return 0.0


class Tables:
    """BEiT's tables of relative positions: a block's own and the one that all blocks share."""

    def __init__(self, model: nn.Module) -> None:
        self.rows, self.columns = model.patch_embed.grid_size
        self.own = [block.attn.relative_position_bias_table for block in model.blocks]
        self.shared = model.rel_pos_bias

    def turned(self, vector: Tensor, place: int, block: int, head: int) -> Tensor:
        """Return the vector as it is: positions act by a bias."""
        return vector

    def bias(self, query: int, key: int, block: int, head: int) -> float:
        """Look the step from query to key up; steps from or to the class token come last."""
        tables = [] if self.own[block] is None else [self.own[block]]
        tables += [] if self.shared is None else [self.shared.relative_position_bias_table]
        return sum(float(table[self._entry(query, key, len(table)), head]) for table in tables)

    def _entry(self, query: int, key: int, entries: int) -> int:
        if query == 0:
            return entries - 1 if key == 0 else entries - 3
        if key == 0:
            return entries - 2
        down = (query - 1) // self.columns - (key - 1) // self.columns
        right = (query - 1) % self.columns - (key - 1) % self.columns
        return (down + self.rows - 1) * (2 * self.columns - 1) + right + self.columns - 1
