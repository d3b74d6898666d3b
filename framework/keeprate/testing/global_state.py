"""The state of the whole process: random generators and torch's settings; save and restore them."""

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
"""The global generators, by name, and the function that seeds each."""


def seed_all(seed: int) -> None:
    """Seed every global generator."""
    for set_seed in SEEDED.values():
        set_seed(seed)


def states() -> dict[str, object]:
    """Return the states of the global random generators in a form that can be compared."""
    # bytes and repr: arrays have no single answer to ==
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": repr([p.tolist() if hasattr(p, "tolist") else p for p in _numpy_state()]),
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
    """Restore random generators and settings afterwards; warnings are shown, never raised.

    Inside, torch uses one thread: for models so tiny, more threads only wait for one another.
    """
    generators = torch.get_rng_state(), _numpy_state(), random.getstate()
    saved_settings, warn_only = settings(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            # pytest may turn warnings into errors, and a method would look broken by one
            warnings.simplefilter("default")
            yield
    finally:
        torch.set_rng_state(generators[0])
        np.random.set_state(generators[1])
        random.setstate(generators[2])
        _restore_settings(saved_settings, warn_only)


def _restore_settings(saved: Mapping[str, object], warn_only: bool) -> None:
    current = settings()
    for name, value in saved.items():
        # set only what changed: some setters have effects of their own, as a default device does
        if current[name] != value and name != _DETERMINISM:
            _SETTERS[name](value)
    if current[_DETERMINISM] != saved[_DETERMINISM]:
        torch.use_deterministic_algorithms(bool(saved[_DETERMINISM]), warn_only=warn_only)


def _numpy_state() -> tuple[Any, ...]:
    state = np.random.get_state()
    assert isinstance(state, tuple)
    return state
