"""Weighted page rank and head aggregation, written out on nested lists of numbers."""

from __future__ import annotations

from math import sqrt

Matrix = list[list[float]]


def page_rank_of_head(
    weights: Matrix,
    iterations: int,
    emphasis: str = "none",
    alive: list[int] | None = None,
    renormalise: bool = True,
    tolerance: float | None = None,
) -> list[float]:
    """Return the signal of every node, 0 for those outside the graph of the nodes `alive`."""
    nodes = list(range(len(weights))) if alive is None else alive
    matrix = cut(weights, nodes, renormalise and alive is not None)
    count = len(nodes)
    signal = [1.0 / count] * count
    if emphasis == "start":
        signal[0] *= sqrt(count)
        signal = to_sum_one(signal)
    for _ in range(iterations):
        before = signal
        sent = list(before)
        if emphasis == "every":
            sent[0] *= sqrt(count)
        received = []
        for j in range(count):
            total = 0.0
            for i in range(count):
                total += matrix[i][j] * sent[i]
            received.append(total)
        signal = to_sum_one(received)
        change = sum(abs(new - old) for new, old in zip(signal, before, strict=True))
        if tolerance is not None and change < tolerance:
            break
    spread = [0.0] * len(weights)
    for value, node in zip(signal, nodes, strict=True):
        spread[node] = value
    return spread


def cut(weights: Matrix, nodes: list[int], renormalise: bool) -> Matrix:
    """Return the rows and columns of `nodes`, each row with sum 1 again if `renormalise`."""
    matrix = [[weights[i][j] for j in nodes] for i in nodes]
    return [to_sum_one(row) for row in matrix] if renormalise else matrix


def to_sum_one(values: list[float]) -> list[float]:
    total = sum(values)
    return [value / total for value in values]


def heads_that_count(
    signals: list[list[float]], patches: list[int], v_min: float, v_max: float
) -> list[bool]:
    """Return which heads pass the variance filter over `patches`; all if none does."""
    passing = []
    for signal in signals:
        scores = [signal[position] for position in patches]
        mean = sum(scores) / len(scores)
        scaled = [score / mean for score in scores]
        variance = sum((score - 1.0) ** 2 for score in scaled) / len(scaled)
        passing.append(v_min <= variance <= v_max)
    return passing if any(passing) else [True] * len(signals)


def one_score_per_token(signals: list[list[float]], counting: list[bool], how: str) -> list[float]:
    """Aggregate the heads that count by root mean square, mean or maximum."""
    heads = [signal for signal, counts in zip(signals, counting, strict=True) if counts]
    scores = []
    for position in range(len(signals[0])):
        values = [head[position] for head in heads]
        if how == "rms":
            scores.append(sqrt(sum(value**2 for value in values) / len(values)))
        elif how == "mean":
            scores.append(sum(values) / len(values))
        else:
            scores.append(max(values))
    return scores
