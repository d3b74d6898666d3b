"""What of PyTorch's ways to record a program a reduced model refuses, and what to use instead."""

from __future__ import annotations

from typing import NoReturn

import torch

from ..errors import KeeprateError
from ..method import Method


def refuse_to_export(method: Method) -> None:
    """Raise KeeprateError if `torch.export` traces a method whose shapes differ by image."""
    if method.keeps_per_image and torch.compiler.is_exporting():
        raise KeeprateError(
            f"Method '{method.name}' keeps a different number of tokens in every image, and what "
            "torch.export traces has fixed shapes: run the model as it is."
        )


def refuse_torchscript(tool: str) -> NoReturn:
    """Raise KeeprateError for a `tool` of TorchScript, which cannot follow a method's decisions."""
    raise KeeprateError(
        f"{tool} cannot record a reduced model: the tokens that it keeps would become constants. "
        "Use torch.export.export, or torch.compile."
    )
