"""The device that Lightning would pick, and its name for people."""

from __future__ import annotations

import torch


def device_of(accelerator: str) -> torch.device:
    """Return the device Lightning would pick: a GPU if there is one and `accelerator` allows it."""
    # the same order as Lightning's: CUDA, then MPS, then the CPU
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.device("cuda")
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return torch.device("mps")
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """Name a device for people: the GPU's model, or the CPU with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"
