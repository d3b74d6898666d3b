"""GTP equals written-out loops: its graph, its scores, what it gives, over two stages."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

import keeprate
from keeprate import KeeprateError, Method, Stage, Tokens
from keeprate_methods.gtp import GTP
from keeprate_methods.token_graph import SELECTIONS, normalised, sparse, spatial_edges
from references import propagation as slow
from references.tiny import attention_of, images_for, random_attention, random_tokens, tiny_vit

GRID = (3, 4)


def on_a_grid(prefix: int) -> Tokens:
    return replace(random_tokens(2, 12, prefix=prefix, trace=True), grid=GRID)


def ranked(tokens: Tokens, image: int, kept: list[int]) -> torch.Tensor:
    """Scores by which these patch tokens of an image stay."""
    score = torch.zeros(len(tokens.x), tokens.count)
    score[:, [tokens.num_prefix + place for place in kept]] = 1.0
    return score


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("kind", ["spatial", "semantic", "mixed"])
def test_tokens_are_propagated_as_in_the_reference(kind: str, prefix: int) -> None:
    method = GTP(graph=kind, neighbours=3, alpha=0.3)
    before = on_a_grid(prefix)
    first, second = [0, 2, 3, 5, 6, 8, 9, 11], [1, 2, 4, 6, 7]
    tokens = method.prepare(before)
    assert method.key_weights(tokens) is None
    for kept in (first, second):
        attention = random_attention(tokens)
        attention.given_score = ranked(tokens, 0, kept)
        tokens = method.reduce(tokens, attention, Stage(1, len(kept), 4))
    for image in range(2):
        x = before.x[image, prefix:].tolist()
        edges = slow.graph(x, GRID, kind, 3)
        x, scale = slow.propagated(x, [1.0] * 12, edges, first, 0.3)
        # the graph is that of the patches, also where few are left
        number = {patch: place for place, patch in enumerate(first)}
        left = {(number[i], number[j]): w for (i, j), w in edges.items() if {i, j} <= set(first)}
        x, scale = slow.propagated(x, scale, left, second, 0.3)
        close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)
        close(tokens.x[image, prefix:], torch.tensor(x, dtype=torch.float64))
        close(method.key_weights(tokens)[image, prefix:], torch.tensor(scale, dtype=torch.float64))
        assert torch.equal(tokens.x[image, :prefix], before.x[image, :prefix])
        assert (method.key_weights(tokens)[image, :prefix] == 1).all()


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_selections_rank_as_the_reference(prefix: int) -> None:
    tokens = random_tokens(1, 6, prefix=prefix)
    weights = random_attention(tokens, sharpness=2.0).weights
    heads = attention_of(random_attention(tokens, sharpness=2.0), 0)
    for name, function in SELECTIONS.items():
        found = function(weights, prefix)[0]
        torch.testing.assert_close(
            found, torch.tensor(slow.scores(heads, name, prefix), dtype=torch.float64)
        )


@pytest.mark.parametrize("share", [0.999, 0.6, 0.3])
def test_the_smallest_weights_of_each_head_are_left_out(share: float) -> None:
    weights = random_attention(random_tokens(1, 6)).weights
    for number, head in enumerate(weights[0].tolist()):
        expected = torch.tensor(slow.sparse(head, share), dtype=torch.float64)
        assert torch.equal(sparse(weights, share)[0, number], expected)


def test_a_graph_by_hand() -> None:
    """In two rows of two all patches touch; in one of three the ends have one neighbour."""
    square = normalised(spatial_edges((2, 2), torch.device("cpu"))[None], torch.float64)[0]
    torch.testing.assert_close(square, (1 - torch.eye(4, dtype=torch.float64)) / 3)
    row = normalised(spatial_edges((1, 3), torch.device("cpu"))[None], torch.float64)[0]
    half = 0.5**0.5
    torch.testing.assert_close(
        row, torch.tensor([[0, half, 0], [half, 0, half], [0, half, 0]], dtype=torch.float64)
    )


@pytest.mark.parametrize(("gone", "left"), [("drop", 9), ("mean", 10)])
def test_what_goes_is_dropped_or_one_mean(gone: str, left: int) -> None:
    model = tiny_vit().double()
    reduced = keeprate.reduce(model, "gtp", "9@1", gone=gone, trace=True)
    with torch.inference_mode():
        reduced(images_for(model))
    assert reduced.token_counts[0].tolist() == [26, 1 + left, 1 + left, 1 + left]


def test_patches_that_are_on_no_grid_are_refused_by_name() -> None:
    with pytest.raises(KeeprateError, match="gtp:graph=mixed needs patches on a grid"):
        GTP().prepare(random_tokens())
    assert GTP(graph="semantic").prepare(random_tokens()).state["graph"].shape == (2, 12, 12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(GTP, neighbours=0), "neighbours must be at least 1"),
        (partial(GTP, attention_share=0.0), "attention_share is above 0"),
        (partial(GTP, alpha=-1.0), "alpha is 0 or more"),
        (partial(GTP, alpha=float("nan")), "alpha is 0 or more"),
    ],
)
def test_impossible_parameters_are_refused(make: partial[Method], message: str) -> None:
    with pytest.raises(KeeprateError, match=message):
        make()
