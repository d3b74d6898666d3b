"""What one stage of a method allocates for one image, as it is written and streamed.

On the meta device nothing is computed, and the bytes are those of the tensors that would be made.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from keeprate import Attention, Needs, Stage, Tokens
from keeprate._value_checks import NEVER
from keeprate.attention import explicit_weights
from keeprate.backbone import Backbone
from keeprate.method import has_score
from keeprate.reduction.reduce import resolve_method


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are made inside it: most alive at once, and the largest."""

    def __init__(self, *given: Tensor) -> None:
        super().__init__()
        self.alive, self.most, self.largest = 0, 0, 0
        self._known = {id(tensor.untyped_storage()) for tensor in given}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._see, made)
        return made

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()  # the same object for every view of it
        if id(storage) in self._known:
            return
        self._known.add(id(storage))
        self.alive += storage.nbytes()
        self.most = max(self.most, self.alive)
        self.largest = max(self.largest, storage.nbytes())
        weakref.finalize(storage, self._free, id(storage), storage.nbytes())

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


@dataclass(frozen=True)
class Layer:
    """What a stage is given for one image: queries, keys, values and tokens."""

    tokens: Tokens
    q: Tensor
    k: Tensor
    v: Tensor

    @classmethod
    def of(
        cls, backbone: Backbone, patches: int, dtype: torch.dtype, device: str = "meta"
    ) -> Layer:
        """Return random tensors of the sizes that enter the first stage of a model."""
        count = patches + backbone.num_prefix
        x = torch.rand(1, count, backbone.channels, dtype=dtype, device=device)
        heads = (1, backbone.heads, count, backbone.head_dim)
        q, k, v = (torch.rand(heads, dtype=dtype, device=device) for _ in range(3))
        has_class = backbone.has_class_token
        tokens = Tokens.of(x, num_prefix=backbone.num_prefix, has_class_token=has_class)
        # checks of values belong to the pass: a stage leaves them until its end
        return cls(replace(tokens, value_checks=NEVER), q, k, v)

    def live_bytes(self, work: Callable[[], object]) -> LiveBytes:
        """Return what `work` allocates beyond these tensors."""
        given = (self.tokens.x, self.tokens.size, self.tokens.image, self.q, self.k, self.v)
        with LiveBytes(*given) as live:
            work()
        return live


def stage_bytes(layer: Layer, method_name: str, stage: Stage) -> LiveBytes:
    """Return what a stage of a method allocates for one image, explicit attention included."""
    method = resolve_method(method_name, None, {})
    scale = layer.q.shape[-1] ** -0.5
    attention = Attention(layer.q, layer.k, layer.v, scale, None, layer.tokens.x, method.needs)

    def work() -> None:
        part = attention.rows(slice(0, 1))
        if method.needs is Needs.WEIGHTS:
            _ = part.weights @ part.v
        if has_score(method):
            attention.given_score = method.score(layer.tokens, part, stage)
        del part  # the matrix is gone before the tokens are
        method.reduce(layer.tokens, attention, stage)

    return layer.live_bytes(work)


def streamed_page_rank(layer: Layer, steps: int, rows: int) -> Tensor:
    """Return the graph signal (1, H, N) with `rows` rows of the matrix alive at a time.

    Every step computes them anew from queries and keys.
    """
    count, scale = layer.tokens.count, layer.q.shape[-1] ** -0.5
    signal = layer.q.new_full((1, layer.q.shape[1], 1, count), 1 / count)
    for _ in range(steps):
        after = torch.zeros_like(signal)
        for part in _blocks(count, rows):
            after += signal[..., part] @ explicit_weights(layer.q[:, :, part], layer.k, scale, None)
        signal = after / after.sum(dim=-1, keepdim=True)
    return signal[:, :, 0]


def streamed_matching(layer: Layer, rows: int) -> Tensor:
    """Return each later token's best similarity (1, n) with an earlier one, keys compared.

    `rows` rows of the matrix of similarities are alive at a time.
    """
    keys = layer.k.transpose(1, 2).flatten(2)
    half = layer.tokens.num_patch_tokens // 2
    others, own = keys[:, : keys.shape[1] - half].transpose(1, 2), keys[:, -half:]
    return torch.cat([(own[:, part] @ others).amax(dim=2) for part in _blocks(half, rows)], dim=1)


def _blocks(count: int, rows: int) -> Iterator[slice]:
    return (slice(start, start + rows) for start in range(0, count, rows))
