"""The processes of one distributed run: who writes, and what all agree on."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def is_first_process() -> bool:
    """Tell whether this process is the one that writes, of one or several."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(os.environ.get("LOCAL_RANK", 0)) == int(os.environ.get("NODE_RANK", 0)) == 0


def wait_for_all() -> None:
    """Wait until every process is here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def broadcast_from_first(value: T) -> T:
    """Return what the first process passes, in every process."""
    if not torch.distributed.is_initialized():
        return value
    box: list[Any] = [value]
    torch.distributed.broadcast_object_list(box)
    decided: T = box[0]
    return decided


def gathered(value: T) -> list[T]:
    """Return what each process passes, in their order, in every process."""
    if not torch.distributed.is_initialized():
        return [value]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, value)
    return parts
