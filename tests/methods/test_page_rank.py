"""Weighted page rank: the identities it must satisfy, and a reference that moves single numbers."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from keeprate_methods.page_rank import MOST_ITERATIONS, aggregate, head_weights, page_rank
from references.page_rank import heads_that_count, one_score_per_token, page_rank_of_head

BY_HAND = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]], dtype=torch.float64)


@pytest.fixture
def weights() -> Tensor:
    """Attention of two images, three heads and nine tokens; the heads differ in sharpness."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 3, 9, 9, generator=generator, dtype=torch.float64)
    sharpness = torch.tensor([0.3, 1.0, 3.0])[:, None, None]
    return (logits * sharpness).softmax(dim=-1)


def by_reference(weights: Tensor, alive: Tensor | None = None, **options: object) -> Tensor:
    signals = []
    for number, image in enumerate(weights):
        nodes = None if alive is None else alive[number].nonzero()[:, 0].tolist()
        signals.append([page_rank_of_head(head.tolist(), alive=nodes, **options) for head in image])
    return torch.tensor(signals, dtype=torch.float64)


def test_one_iteration_of_the_hand_case() -> None:
    signal = page_rank(BY_HAND[None, None], iterations=1)
    torch.testing.assert_close(
        signal[0, 0], torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64) / 3, rtol=0, atol=1e-12
    )


def test_one_iteration_from_uniform_is_the_column_mean(weights: Tensor) -> None:
    signal = page_rank(weights, iterations=1)
    columns = torch.stack([weights[..., j].sum(-1) / 9 for j in range(9)], dim=-1)
    torch.testing.assert_close(signal, columns, rtol=0, atol=1e-14)


def test_the_fixed_point_is_the_left_perron_eigenvector(weights: Tensor) -> None:
    signal = page_rank(weights, iterations=400)
    values, vectors = torch.linalg.eig(weights.transpose(-2, -1))
    first = values.real.argmax(dim=-1)
    perron = vectors.real.gather(-1, first[..., None, None].expand(2, 3, 9, 1))[..., 0]
    torch.testing.assert_close(
        signal, perron / perron.sum(dim=-1, keepdim=True), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("emphasis", ["none", "start", "every"])
@pytest.mark.parametrize("iterations", [1, 2, 5, 30])
def test_the_signal_sums_to_one(weights: Tensor, emphasis: str, iterations: int) -> None:
    signal = page_rank(weights, iterations=iterations, emphasis=emphasis)
    torch.testing.assert_close(signal.sum(-1), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("emphasis", ["none", "start", "every"])
@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_every_emphasis_equals_the_reference(
    weights: Tensor, emphasis: str, iterations: int
) -> None:
    signal = page_rank(weights, iterations=iterations, emphasis=emphasis)
    expected = by_reference(weights, iterations=iterations, emphasis=emphasis)
    torch.testing.assert_close(signal, expected, rtol=0, atol=1e-14)


def test_emphasis_every_by_hand() -> None:
    signal = page_rank(BY_HAND[None, None], iterations=1, emphasis="every")
    root = 3**0.5
    received = [0.1 * root + 0.6 + 0.2, 0.2 * root + 0.3 + 0.5, 0.7 * root + 0.1 + 0.3]
    expected = torch.tensor(received, dtype=torch.float64) / (root + 2)
    torch.testing.assert_close(signal[0, 0], expected, rtol=0, atol=1e-14)


def test_a_power_iteration_forgets_its_start_but_not_an_emphasis_in_every_step(
    weights: Tensor,
) -> None:
    signals = {
        emphasis: page_rank(weights, iterations=200, emphasis=emphasis)
        for emphasis in ("none", "start", "every")
    }
    torch.testing.assert_close(signals["start"], signals["none"], rtol=0, atol=1e-12)
    assert (signals["every"] - signals["none"]).abs().max() > 1e-2


@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("emphasis", ["none", "start", "every"])
@pytest.mark.parametrize("iterations", [1, 4])
def test_a_restricted_graph_equals_a_matrix_that_is_really_cut(
    weights: Tensor, emphasis: str, iterations: int, renormalise: bool
) -> None:
    alive = torch.zeros(2, 9, dtype=torch.bool)
    alive[0, [0, 1, 4, 6, 8]] = True
    alive[1, [0, 2, 3, 4, 7]] = True
    options = {"iterations": iterations, "emphasis": emphasis, "renormalise": renormalise}
    signal = page_rank(weights, alive=alive, **options)
    expected = by_reference(weights, alive=alive, **options)
    torch.testing.assert_close(signal, expected, rtol=0, atol=1e-14)
    assert not signal[~alive[:, None].expand_as(signal)].any()


def test_renormalising_the_restricted_rows_matters(weights: Tensor) -> None:
    alive = torch.ones(2, 9, dtype=torch.bool)
    alive[:, [2, 5]] = False
    with_sums = page_rank(weights, iterations=3, alive=alive)
    without = page_rank(weights, iterations=3, alive=alive, renormalise=False)
    assert (with_sums - without).abs().max() > 1e-3


def test_a_tolerance_stops_each_head_once_its_signal_changes_by_less(weights: Tensor) -> None:
    signal = page_rank(weights, iterations=1, tolerance=1e-4)
    for image in range(2):
        for head in range(3):
            matrix = weights[image, head].tolist()
            steps = [
                torch.tensor(page_rank_of_head(matrix, iterations), dtype=torch.float64)
                for iterations in range(60)
            ]
            changes = [(b - a).abs().sum() for a, b in itertools.pairwise(steps)]
            stop = next(step for step, change in enumerate(changes) if change < 1e-4)
            nearest = min(
                float((signal[image, head] - steps[step]).abs().max()) for step in (stop, stop + 1)
            )
            assert nearest < 1e-14


def test_a_tolerance_stops_heads_at_different_iterations(weights: Tensor) -> None:
    signal = page_rank(weights, iterations=1, tolerance=1e-4)
    change = (torch.einsum("bhij,bhi->bhj", weights, signal) - signal).abs().sum(-1)
    assert (change < 1e-4).all()
    assert change.max() / change.min() > 1.5


def test_where_a_tolerance_stops_an_image_does_not_depend_on_the_batch(weights: Tensor) -> None:
    together = page_rank(weights, iterations=1, emphasis="every", tolerance=1e-4)
    alone = [
        page_rank(weights[i : i + 1, h : h + 1], iterations=1, emphasis="every", tolerance=1e-4)
        for i in range(2)
        for h in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone).reshape(2, 3, 9), rtol=0, atol=1e-13)


def test_an_unreachable_tolerance_ends_after_the_most_iterations(weights: Tensor) -> None:
    signal = page_rank(weights, iterations=1, tolerance=0.0)
    expected = page_rank(weights, iterations=MOST_ITERATIONS)
    torch.testing.assert_close(signal, expected, rtol=0, atol=1e-14)


def test_a_tolerance_does_not_hide_what_is_no_number(weights: Tensor) -> None:
    weights[0, 1, 2, 3] = torch.nan
    signal = page_rank(weights, iterations=1, tolerance=1e-4)
    assert signal.isnan().any(dim=-1).tolist() == [[False, True, False], [False, False, False]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_attention_is_ranked_in_float32(weights: Tensor, dtype: torch.dtype) -> None:
    signal = page_rank(weights.to(dtype), iterations=30, emphasis="every")
    assert signal.dtype is torch.float32
    exact = page_rank(weights, iterations=30, emphasis="every")
    torch.testing.assert_close(signal.double(), exact, rtol=0.03, atol=1e-3)


def test_a_signal_that_grows_in_every_iteration_stays_finite() -> None:
    weights = torch.full((1, 1, 50, 50), 0.01 / 49)
    weights[..., 0] = 0.99  # all attend to the class token, which counts seven times
    signal = page_rank(weights, iterations=100, emphasis="every")
    expected = by_reference(weights.double(), iterations=100, emphasis="every")
    torch.testing.assert_close(signal.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("emphasis", ["none", "start", "every"])
def test_a_row_that_attends_to_removed_tokens_alone_sends_nothing(emphasis: str) -> None:
    weights = torch.zeros(1, 1, 21, 21)
    weights[..., :2] = 0.5
    weights[..., 0, :] = torch.nn.functional.one_hot(torch.tensor(20), 21)
    alive = torch.arange(21)[None] < 20
    signal = page_rank(weights, iterations=9, emphasis=emphasis, alive=alive)
    torch.testing.assert_close(signal[0, 0], torch.tensor([0.5, 0.5] + 19 * [0.0]))


@pytest.mark.parametrize(("v_min", "v_max"), [(0.01, 0.7), (0.0, 0.05), (0.05, 0.5), (9.0, 10.0)])
def test_the_head_filter_equals_the_reference(weights: Tensor, v_min: float, v_max: float) -> None:
    signal = page_rank(weights, iterations=2)
    signal[..., 5] = 0  # not in the graph
    counting = passing(signal[..., 1:], v_min, v_max, nodes=7)
    positions = [1, 2, 3, 4, 6, 7, 8]
    expected = [heads_that_count(image, positions, v_min, v_max) for image in signal.tolist()]
    assert counting == expected


def passing(signal: Tensor, v_min: float, v_max: float, nodes: int) -> list[list[bool]]:
    """Tell which heads count as much as any."""
    heads = head_weights(signal, v_min, v_max, nodes)
    return (heads == heads.amax(dim=1, keepdim=True)).tolist()


def test_the_head_filter_looks_at_patch_tokens_alone_and_at_scores_of_mean_one() -> None:
    sixteenths = [[8, 1, 1, 2, 4], [8, 0, 0, 0, 8]]  # of which everything below is exact
    signal = torch.tensor([sixteenths], dtype=torch.float64)[..., 1:] / 16
    variances = [(2 * 0.5**2 + 0.0 + 1.0) / 4, (3 * 1.0 + 9.0) / 4]
    low, high = variances[0] - 1e-9, variances[0] + 1e-9
    assert passing(signal, low, high, 4) == [[True, False]]
    low, high = variances[1] - 1e-9, variances[1] + 1e-9
    assert passing(signal, low, high, 4) == [[False, True]]
    assert passing(signal, variances[0], variances[1], 4) == [[True, True]]


def test_where_every_head_is_filtered_out_all_heads_of_that_image_count() -> None:
    even = torch.full((4,), 0.25, dtype=torch.float64)
    uneven = torch.tensor([0.25, 0.05, 0.3, 0.4], dtype=torch.float64)
    signal = torch.stack([torch.stack([even, even]), torch.stack([even, uneven])])
    assert passing(signal[..., 1:], 0.01, 0.7, 3) == [[True, True], [False, True]]


@pytest.mark.parametrize("how", ["rms", "mean", "max"])
def test_aggregation_equals_the_reference(weights: Tensor, how: str) -> None:
    signal = page_rank(weights, iterations=2)
    heads = torch.tensor([[True, False, True], [False, True, False]])
    expected = [
        one_score_per_token(image, counting, how)
        for image, counting in zip(signal.tolist(), heads.tolist(), strict=True)
    ]
    torch.testing.assert_close(
        aggregate(signal, heads.double(), how),
        torch.tensor(expected, dtype=torch.float64),
        rtol=0,
        atol=1e-14,
    )


def test_root_mean_square_by_hand() -> None:
    signal = torch.tensor([[[0.3, 0.7], [0.1, 0.9], [0.5, 0.5]]], dtype=torch.float64)
    heads = torch.tensor([[True, True, False]])
    expected = torch.tensor([[0.05, 0.65]], dtype=torch.float64).sqrt()
    torch.testing.assert_close(aggregate(signal, heads.double(), "rms"), expected)
