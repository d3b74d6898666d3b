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
    weight, bias = layer[f"{name}weight"].tolist(), layer[f"{name}bias"].tolist()
    return [
        sum(w * x for w, x in zip(line, row, strict=True)) + b
        for line, b in zip(weight, bias, strict=True)
    ]


def normed(row: list[float], layer: Layer, name: str) -> list[float]:
    weight, bias = layer[f"{name}weight"].tolist(), layer[f"{name}bias"].tolist()
    mean = sum(row) / len(row)
    spread = sqrt(sum((x - mean) ** 2 for x in row) / len(row) + 1e-5)
    return [(x - mean) / spread * w + b for x, w, b in zip(row, weight, bias, strict=True)]


def dynamicvit(x: Rows, layer: Layer) -> list[float]:
    """The log-probability to keep each patch token of x (n, C)."""
    hidden = [
        [gelu(h) for h in linear(normed(row, layer, "in_conv.0."), layer, "in_conv.1.")]
        for row in x
    ]
    half = len(x[0]) // 2
    shared = [sum(row[c] for row in hidden) / len(x) + 1e-6 for c in range(half, len(x[0]))]
    scores = []
    for row in hidden:
        inner = row[:half] + shared
        for name in ("out_conv.0.", "out_conv.2."):
            inner = [gelu(h) for h in linear(inner, layer, name)]
        keep, drop = linear(inner, layer, "out_conv.4.")
        scores.append(keep - log(exp(keep) + exp(drop)))
    return scores


def softmax(numbers: list[float]) -> list[float]:
    powers = [exp(number) for number in numbers]
    return [power / sum(powers) for power in powers]


def sums(shares: Rows, x: Rows) -> Rows:
    """For each row of shares (K, n), the sum of the rows of x (n, C) by it."""
    return [
        [sum(s * row[c] for s, row in zip(line, x, strict=True)) for c in range(len(x[0]))]
        for line in shares
    ]


def sit(x: Rows, layer: Layer) -> Rows:
    scale = float(layer["scale"].item())
    logits = [
        linear(
            [gelu(h) for h in linear(normed(row, layer, "weight.0."), layer, "weight.1.")],
            layer,
            "weight.3.",
        )
        for row in x
    ]
    kept = range(len(logits[0]))
    return sums([softmax([row[k] * scale for row in logits]) for k in kept], x)


def patch_merger(x: Rows, layer: Layer) -> Rows:
    y = [normed(row, layer, "norm.") for row in x]
    queries = layer["queries"].tolist()
    products = [
        [sum(q * c for q, c in zip(query, row, strict=True)) for row in y] for query in queries
    ]
    return sums([softmax(line) for line in products], y)


def unit(row: list[float]) -> list[float]:
    length = sqrt(sum(c * c for c in row))
    return [c / length for c in row]


def sinkhorn(x: Rows, layer: Layer) -> Rows:
    """By scaling rows, then columns, of the exponentials, to the sums 1 / (K + n)."""
    y, centres = [unit(row) for row in x], [unit(row) for row in layer["v"].tolist()]
    every = 1 / (len(y) + len(centres))
    shares = [[exp(sum(a * b for a, b in zip(c, row, strict=True))) for row in y] for c in centres]
    for _ in range(3):
        shares = [[each * every / sum(line) for each in line] for line in shares]
        totals = [sum(line[j] for line in shares) for j in range(len(y))]
        shares = [
            [each * every / total for each, total in zip(line, totals, strict=True)]
            for line in shares
        ]
    return sums([[each / every for each in line] for line in shares], y)
