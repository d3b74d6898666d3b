"""Images are decoded by as many processes as the machine has processors for."""

from __future__ import annotations

import os

import pytest
import torch

from keeprate.data.samples import default_workers
from keeprate.plugins.registry import registry


@pytest.mark.parametrize(
    ("processors", "devices", "workers"),
    [(2, 1, 2), (12, 1, 12), (64, 1, 16), (24, 2, 12), (24, "auto", 6), (2, 4, 1)],
)
def test_the_processes_that_compute_share_the_processors_that_this_one_may_use(
    processors: int, devices: int | str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    allowed = set(range(3, 3 + processors))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert default_workers(registry().dataset("imagenet"), devices) == workers


@pytest.mark.parametrize("name", ["digits", "text-file"])
def test_where_nothing_is_decoded_there_are_none(name: str) -> None:
    assert default_workers(registry().dataset(name), 1) == 0


def test_all_processors_count_where_the_system_names_none_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert default_workers(registry().dataset("imagenet")) == 6
