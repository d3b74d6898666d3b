"""Counts what a forward pass asks of a GPU, without one: kernels launched, and waits for it.

On the meta device, where an operation has shapes and no values, every operation of PyTorch that
makes a tensor is one launch; views and fresh memory are none, and fused attention is one whatever
it is made of there. What would need a value, as `int(tensor)` does, cannot run at all on that
device, and copies between it and the processor are counted: each would make a GPU wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_FREE = frozenset(
    [
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "detach",
        "_unsafe_view",
        "lift_fresh",
        "promote_types",
    ]
)
"""Operations that launch nothing, views apart."""

_READS = frozenset(
    [
        "_local_scalar_dense",
        "is_nonzero",
        "item",
        "equal",
        "nonzero",
        "masked_select",
        "unique_dim",
        "_unique2",
        "unique_consecutive",
        "bincount",
    ]
)
"""Operations that need a value, or make a tensor whose shape depends on values."""


class Operations(TorchDispatchMode):
    """Counts, while it is entered, launches and waits by the name of the operation."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._fused = _FusedAttention(self)

    def __enter__(self) -> Operations:
        # without gradients and outside inference mode: composite operations come in their parts
        self._no_grad = torch.no_grad()
        self._no_grad.__enter__()
        self._fused.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._fused.__exit__(*error)
        self._no_grad.__exit__(*error)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._fused.inside:
            return result
        name = func._schema.name.removeprefix("aten::")
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        made = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
        if name in _READS or _looks_up_by_mask(name, given) or _moves(given, made, kwargs or {}):
            self.waits[name] += 1
        on_device = any(not each.is_cpu for each in made)
        if on_device and name not in _FREE and not func.is_view:
            self.launches[name] += 1
        return result


class _FusedAttention(TorchFunctionMode):
    """Counts a fused attention call as one operation: the meta device computes it in parts."""

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self.operations, self.inside = operations, False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        self.inside = True
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.inside = False
            self.operations.launches["scaled_dot_product_attention"] += 1


def _looks_up_by_mask(name: str, given: Iterable[Tensor]) -> bool:
    """Tell whether a tensor is indexed by a mask, whose number of True decides the shape."""
    return name in ("index", "index_put", "index_put_") and any(
        each.dtype == torch.bool for each in list(given)[1:]
    )


def _moves(given: Iterable[Tensor], made: Iterable[Tensor], options: Mapping[str, Any]) -> bool:
    """Tell whether values go from one device to another in a way that waits.

    A number in a tensor of its own on the processor is handed to a kernel as an argument.
    """
    devices = {each.device.type for each in [*given, *made] if each.dim()}
    return len(devices) > 1 and not options.get("non_blocking")


def operations_of(model: Callable[..., object], *arguments: object) -> Operations:
    """Return the operations of a second forward pass."""
    with torch.no_grad():
        model(*arguments)
    with Operations() as operations:
        model(*arguments)
    return operations
