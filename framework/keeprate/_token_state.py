"""What a method carries along with its tokens: tensors by name, which nobody can write over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from . import _token_checks as checks


class MethodState(Mapping[str, Tensor]):
    """Tensors by name. It has no assignment: other runs may hold the same one.

    A class of its own, since the standard library's read-only mapping can be neither copied nor
    pickled.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"MethodState({self._tensors})"

    def each(self, change: Callable[[Tensor], Tensor]) -> MethodState:
        """Return the result of `change` for each tensor, by the same names."""
        return MethodState({name: change(tensor) for name, tensor in self._tensors.items()})

    def updated(
        self, what: str, tensors: Mapping[str, object], x: Tensor, rows: int
    ) -> MethodState:
        """Return these tensors and `tensors`, which replace those of the same names.

        Raises KeeprateError, which begins with `what`, unless each is a tensor on the device of the
        embeddings `x` (B, N, C) with a row for each image (`rows` is 1) or for each token (2).
        """
        checked = {
            name: checks.check_state(f"{what}: {name}", value, x, rows)
            for name, value in tensors.items()
        }
        return MethodState({**self._tensors, **checked})


_EMPTY: Final = MethodState({})


def no_state() -> MethodState:
    """Return the state without a tensor."""
    return _EMPTY


@dataclass(frozen=True)
class Reused:
    """Attention weights (B, H, K, M) for a block to attend with, and the values (B, H, M, d).

    Without values, M = K, and they are those of the tokens that enter the block.
    """

    weights: Tensor
    v: Tensor | None = None
