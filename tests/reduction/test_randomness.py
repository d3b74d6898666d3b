"""Random numbers depend on seed, stream, image and position alone, on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from scipy.stats import chisquare, kstest

from keeprate.errors import KeeprateError
from keeprate.reduction.random_numbers import uniform
from operations import Operations

WORD = 2**64
STEP = 0x9E3779B97F4A7C15


def mixed(state: int) -> int:
    """SplitMix64's output function (Steele, Lea, Flood 2014), on Python's unbounded integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % WORD
    return state ^ (state >> 31)


def by_integers(image: int, position: int, seed: int, stream: int) -> float:
    state = mixed((seed * STEP + stream) % WORD)
    state = mixed((state + image * STEP) % WORD)
    state = mixed((state + position * STEP) % WORD)
    return (state >> 40) / 2**24


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31])
@pytest.mark.parametrize("stream", [0, 3, 11])
def test_numbers_equal_splitmix_on_unbounded_integers(seed: int, stream: int) -> None:
    images = [0, 1, 2, 49_999, 1_281_166]
    drawn = uniform(torch.tensor(images), 7, seed=seed, stream=stream)
    expected = [[by_integers(image, p, seed, stream) for p in range(7)] for image in images]
    assert drawn.tolist() == expected


def test_golden_values() -> None:
    drawn = uniform(torch.tensor([0, 1, 49_999]), 4, seed=1, stream=2)
    assert (drawn * 2**24).to(torch.int64).tolist() == [
        [9341482, 11434488, 1076038, 1016596],
        [509488, 1660652, 10692879, 8972364],
        [10842355, 10936306, 10812742, 2255066],
    ]


def test_numbers_are_float32_from_zero_up_to_but_not_one() -> None:
    drawn = uniform(torch.arange(500), 200, seed=0)
    assert drawn.dtype is torch.float32
    assert drawn.shape == (500, 200)
    assert 0 <= float(drawn.min()) < 1e-3
    assert 0.999 < float(drawn.max()) < 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_numbers_are_uniform(seed: int) -> None:
    drawn = uniform(torch.arange(200), 100, seed=seed, stream=4).flatten()
    assert kstest(drawn.numpy(), "uniform").pvalue > 0.01
    counts = torch.histc(drawn, bins=50, min=0, max=1)
    assert chisquare(counts.numpy()).pvalue > 0.01


@pytest.mark.parametrize(
    "other",
    [
        lambda: uniform(torch.arange(1, 101), 100, seed=0),
        lambda: uniform(torch.arange(100), 100, seed=1),
        lambda: uniform(torch.arange(100), 100, seed=0, stream=1),
        lambda: uniform(torch.arange(100), 101, seed=0)[:, 1:],
    ],
    ids=["next image", "next seed", "next stream", "next position"],
)
def test_neighbours_are_not_correlated(other: object) -> None:
    pair = torch.stack([uniform(torch.arange(100), 100, seed=0).flatten(), other().flatten()])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.03


def test_an_image_draws_the_same_numbers_in_every_batch() -> None:
    together = uniform(torch.arange(10), 6, seed=3)
    for image in range(10):
        assert torch.equal(uniform(torch.tensor([image]), 6, seed=3)[0], together[image])
    assert torch.equal(uniform(torch.arange(10), 9, seed=3)[:, :6], together)


def test_no_global_random_state_is_read_or_written() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = uniform(torch.arange(3), 4, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(uniform(torch.arange(3), 4, seed=0), first)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 2**64])
def test_seeds_beyond_an_int64_are_refused(seed: int) -> None:
    with pytest.raises(KeeprateError, match=r"^seed must be from -9223372036854775808 to "):
        uniform(torch.arange(2), 3, seed=seed)
    uniform(torch.arange(2), 3, seed=-(2**63))


IN_INTERPRETER = """
import torch
from keeprate.reduction.random_kernel import drawn_at_once
from keeprate.reduction.random_numbers import FACTORS, STEP, _by_operations
for first in (0, 5, 2**40, 2**63 - 1, -(2**63), -12345):
    for images, count in (([0, 1, 49_999, 1_281_166], 3), ([7], 256), ([3, 2**40], 300)):
        image = torch.tensor(images)
        drawn = drawn_at_once(image, count, first, STEP, FACTORS)
        assert torch.equal(drawn, _by_operations(image, count, first))
print("equal")
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_a_gpu_draws_the_same_numbers_in_one_launch() -> None:
    # the interpreter is chosen before Triton is imported, so the kernel has a process of its own
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", IN_INTERPRETER], env=environment, capture_output=True, text=True
    )
    assert ran.stdout == "equal\n", ran.stderr


def test_drawing_is_one_operation() -> None:
    image = torch.arange(3, device="meta")
    with Operations() as operations:
        uniform(image, 5, seed=1)
    assert operations.launches == {"keeprate::uniform": 1}
