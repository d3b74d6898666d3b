"""What belongs to the whole process: random generators, torch's settings; kept as they were."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

SEEDED: Mapping[str, Callable[[int], object]] = {
    "torch": torch.manual_seed,
    "NumPy": np.random.seed,
    "Python's random": random.seed,
}
"""The global generators, by name, and how each is seeded."""


def seed_all(seed: int) -> None:
    """Seed every global generator."""
    for each in SEEDED.values():
        each(seed)


def states() -> dict[str, object]:
    """Return the states of the global random generators, to be compared."""
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": repr([each.tolist() if hasattr(each, "tolist") else each for each in _numpy()]),
        "Python's random": random.getstate(),
    }


_DTYPE, _THREADS = "torch's default dtype", "torch's number of threads"
_DETERMINISM = "torch's use of deterministic algorithms"
_PRECISION, _DEVICE = "torch's precision of float32 products", "torch's default device"

_SETTERS: Mapping[str, Callable[[Any], object]] = {
    _DTYPE: torch.set_default_dtype,
    _THREADS: torch.set_num_threads,
    _PRECISION: torch.set_float32_matmul_precision,
    _DEVICE: lambda device: torch.set_default_device(None if device.type == "cpu" else device),
}


def settings() -> dict[str, object]:
    """Return the settings of torch that every model of the process shares."""
    return {
        _DTYPE: torch.get_default_dtype(),
        _THREADS: torch.get_num_threads(),
        _DETERMINISM: torch.are_deterministic_algorithms_enabled(),
        _PRECISION: torch.get_float32_matmul_precision(),
        _DEVICE: torch.get_default_device(),
    }


@contextmanager
def left_as_found() -> Iterator[None]:
    """Put random generators and settings back afterwards; warnings are shown, never raised.

    Inside, torch uses one thread: models are so tiny that more of them only wait for one another.
    """
    generators = torch.get_rng_state(), _numpy(), random.getstate()
    found, warn_only = settings(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
    finally:
        torch.set_rng_state(generators[0])
        np.random.set_state(generators[1])
        random.setstate(generators[2])
        _put_back(found, warn_only)


def _put_back(found: Mapping[str, object], warn_only: bool) -> None:
    now = settings()
    for name, value in found.items():
        if now[name] != value and name != _DETERMINISM:
            _SETTERS[name](value)
    if now[_DETERMINISM] != found[_DETERMINISM]:
        torch.use_deterministic_algorithms(bool(found[_DETERMINISM]), warn_only=warn_only)


def _numpy() -> tuple[Any, ...]:
    state = np.random.get_state()
    assert isinstance(state, tuple)
    return state
