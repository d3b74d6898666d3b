"""While `torch.export` traces a model there are shapes only: no value can be looked at."""

from __future__ import annotations

import torch
from torch import Tensor


def without_values(x: Tensor) -> bool:
    """Tell whether `x` stands for a tensor whose numbers are not known (yet)."""
    return x.is_meta or torch.compiler.is_exporting()
