"""Brings tensors from a device to the host together, so that it is waited for once."""

from __future__ import annotations

import torch
from torch import Tensor


class HostCopy:
    """Collects tensors, and brings those that are on a device to the host in one copy.

    `add` what is wanted, call `fetch` once, and then the object with a tensor for it on the host.
    """

    def __init__(self) -> None:
        # by identity, and kept, so that no other tensor can get the same one
        self._wanted: dict[int, Tensor] = {}
        self._on_host: dict[int, Tensor] = {}

    def add(self, tensor: Tensor) -> Tensor:
        """Ask for a tensor, which is returned as it is; what runs share is copied once."""
        self._wanted[id(tensor)] = tensor
        return tensor

    def fetch(self) -> None:
        """Copy what was asked for; waits until the device has computed it."""
        self._on_host = dict(self._wanted)
        away = {key: tensor for key, tensor in self._wanted.items() if not tensor.is_cpu}
        # wide types first: each then begins at a multiple of its own size
        order = sorted(away, key=lambda key: -away[key].element_size())
        if not order:
            return
        packed = torch.cat([_bytes_of(away[key]) for key in order]).cpu()
        lengths = [away[key].nbytes for key in order]
        parts = packed.split(lengths)  # type: ignore[no-untyped-call]
        for key, part in zip(order, parts, strict=True):
            self._on_host[key] = part.view(away[key].dtype).view(away[key].shape)

    def __call__(self, tensor: Tensor) -> Tensor:
        """Return a tensor that was asked for, on the host."""
        return self._on_host[id(tensor)]


def _bytes_of(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)
