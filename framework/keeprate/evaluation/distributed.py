"""Several processes of one distributed run: which one writes, and how they exchange values."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def is_first_process() -> bool:
    """Tell whether this process is the only one, or the one of several that writes."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    # Lightning starts the processes before they form a group: until then its variables tell
    return int(os.environ.get("LOCAL_RANK", 0)) == int(os.environ.get("NODE_RANK", 0)) == 0


def wait_for_all() -> None:
    """Wait until every process has called this function."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def broadcast_from_first(value: T) -> T:
    """Return in every process the value that the first one passes."""
    if not torch.distributed.is_initialized():
        return value
    box: list[Any] = [value]  # the call replaces the content of a list in place
    torch.distributed.broadcast_object_list(box)
    decided: T = box[0]
    return decided


def gathered(value: T) -> list[T]:
    """Return in every process the values that all of them pass, in the order of their ranks."""
    if not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values
