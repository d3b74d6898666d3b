"""The layers that methods were trained with, one number at a time."""

from __future__ import annotations

from collections.abc import Mapping
from math import erf, exp, log, sqrt

from torch import Tensor

Rows = list[list[float]]
Layer = Mapping[str, Tensor]


def gelu(number: float) -> float:
    return number * (1 + erf(number / sqrt(2))) / 2


def linear(row: list[float], layer: Layer, name: str) -> list[float]:
    weight, bias = layer[f"{name}.weight"].tolist(), layer[f"{name}.bias"].tolist()
    return [
        sum(w * x for w, x in zip(line, row, strict=True)) + b
        for line, b in zip(weight, bias, strict=True)
    ]


def normed(row: list[float], layer: Layer, name: str) -> list[float]:
    weight, bias = layer[f"{name}.weight"].tolist(), layer[f"{name}.bias"].tolist()
    mean = sum(row) / len(row)
    spread = sqrt(sum((x - mean) ** 2 for x in row) / len(row) + 1e-5)
    return [(x - mean) / spread * w + b for x, w, b in zip(row, weight, bias, strict=True)]


def dynamicvit(x: Rows, layer: Layer) -> list[float]:
    """The log-probability to keep each patch token of x (n, C)."""
    hidden = [
        [gelu(h) for h in linear(normed(row, layer, "in_conv.0"), layer, "in_conv.1")] for row in x
    ]
    half = len(x[0]) // 2
    shared = [sum(row[c] for row in hidden) / len(x) + 1e-6 for c in range(half, len(x[0]))]
    scores = []
    for row in hidden:
        inner = row[:half] + shared
        for name in ("out_conv.0", "out_conv.2"):
            inner = [gelu(h) for h in linear(inner, layer, name)]
        keep, drop = linear(inner, layer, "out_conv.4")
        scores.append(keep - log(exp(keep) + exp(drop)))
    return scores
