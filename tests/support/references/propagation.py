"""GTP for one image, written out in loops on lists of numbers."""

from __future__ import annotations

from collections.abc import Callable

from .similarity import Vector, cosine

Heads = list[list[list[float]]]


def graph(
    x: list[Vector], grid: tuple[int, int], kind: str, neighbours: int
) -> dict[tuple[int, int], float]:
    """Return the weights of the edges between patches, by number; x are their embeddings."""
    edges = set()
    for i in range(len(x)):
        (row, column), others = divmod(i, grid[1]), [j for j in range(len(x)) if j != i]
        if kind != "semantic":
            for j in others:
                other_row, other_column = divmod(j, grid[1])
                if abs(row - other_row) <= 1 and abs(column - other_column) <= 1:
                    edges.add((i, j))
        if kind != "spatial":
            nearest = sorted(others, key=lambda j: -cosine(x[i], x[j]))[:neighbours]
            edges |= {(i, j) for j in nearest}
    degree = [max(1, sum((i, j) in edges for j in range(len(x)))) for i in range(len(x))]
    return {(i, j): (degree[i] * degree[j]) ** -0.5 for i, j in edges}


def propagated(
    x: list[Vector],
    scale: list[float],
    edges: dict[tuple[int, int], float],
    kept: list[int],
    alpha: float,
) -> tuple[list[Vector], list[float]]:
    """Return tokens and scales of the patches `kept`; an edge's ends are numbers of rows of x."""
    gone = [j for j in range(len(x)) if j not in kept]
    rows, scales = [], []
    for i in kept:
        given = {j: alpha * edges.get((i, j), 0.0) for j in gone}
        rows.append([x[i][c] + sum(given[j] * x[j][c] for j in gone) for c in range(len(x[0]))])
        scales.append(scale[i] + sum(given[j] * scale[j] for j in gone))
    return rows, scales


def scores(heads: Heads, selection: str, prefix: int) -> list[float]:
    """Return the score of every token."""
    what, _, over = selection.partition("-")
    combine: Callable[[list[float]], float] = (
        max if over == "max" else lambda values: sum(values) / len(values)
    )
    tokens = range(len(heads[0]))
    own = [combine([head[j][j] for head in heads]) for j in tokens]
    drawn = [combine([sum(head[i][j] for i in tokens) for head in heads]) for j in tokens]
    if what == "unlike":
        rows = [[combine([head[i][j] for head in heads]) for j in tokens] for i in tokens]
        return [-sum(cosine(rows[i], rows[j]) for j in tokens if j >= prefix) for i in tokens]
    return {
        "mixed": [a * b for a, b in zip(own, drawn, strict=True)],
        "sum": [a + b for a, b in zip(own, drawn, strict=True)],
        "class": [combine([head[0][j] for head in heads]) for j in tokens],
        "image": drawn,
        "diagonal": own,
    }[what]


def sparse(head: list[list[float]], share: float) -> list[list[float]]:
    """Return a head's weights without the smallest."""
    every = sorted(weight for row in head for weight in row)
    number = int(len(every) * (1 - share))
    threshold = every[number - 1] if number else 0.0
    return [[weight if weight >= threshold else 0.0 for weight in row] for row in head]
