"""Tensors as if on a GPU, without one: their values are at hand, and reading them is counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

_VALUE_NEEDED = frozenset(["nonzero", "masked_select", "_unique2", "unique_dim", "equal"])
"""Operations that wait for a GPU although they make a tensor, or no number that is seen here."""


class FarTensor(Tensor):
    """A tensor as on another device; `reads` has the operations that brought values from it."""

    reads: list[str]
    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor, reads: list[str]) -> FarTensor:
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset()}
        far: FarTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, near.shape, dtype=near.dtype, device="meta", **layout
        )
        far.near, far.reads = near, reads
        return far

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        reads = next(each for each in _leaves((args, kwargs)) if isinstance(each, cls)).reads
        result = func(*tree_map(_near, args), **tree_map(_near, kwargs or {}))
        is_tensor = all(isinstance(each, Tensor) for each in _leaves(result))
        to_host = torch.device("cpu") in _leaves((args, kwargs))
        if to_host or not is_tensor or func.overloadpacket.__name__ in _VALUE_NEEDED:
            reads.append(str(func))
        if to_host:
            return result
        return tree_map(lambda each: cls(each, reads) if isinstance(each, Tensor) else each, result)

    __torch_function__ = torch._C._disabled_torch_function_impl


def _near(value: object) -> object:
    return value.near if isinstance(value, FarTensor) else value


def _leaves(nested: object) -> list[Any]:
    leaves: list[Any] = torch.utils._pytree.tree_leaves(nested)
    return leaves
