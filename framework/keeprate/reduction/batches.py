"""The rows of a batch of inputs, which may run in parts of one size each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..backbone import Inputs
from ..errors import KeeprateError


def in_order(logits: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """Put the logits of the parts in the order of the batch; `rows` are each part's rows."""
    if len(logits) == 1:
        return logits[0]
    return torch.cat(list(logits))[torch.cat(list(rows)).argsort().to(logits[0].device)]


def batch_size(inputs: Inputs) -> int:
    """Return the number of rows of a batch; raise KeeprateError if `inputs` are no inputs."""
    if isinstance(inputs, Tensor):
        return inputs.shape[0]
    if not isinstance(inputs, Mapping) or not inputs:
        raise KeeprateError("Call a reduced model with a tensor, or with tensors by name.")
    rows: int = next(iter(inputs.values())).shape[0]
    return rows
