"""A report says where the unpruned model does no better than guessing, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.chance import at_chance
from keeprate.results import Store
from results_factory import make_run, put


@pytest.mark.parametrize(
    ("right", "images", "classes"),
    [(0, 40, 1000), (0, 16, 1000), (60, 50_000, 1000), (50, 100, 2), (1, 20, 2), (4, 60, 10)],
)
def test_no_better_than_guessing_is_told(right: int, images: int, classes: int) -> None:
    assert at_chance(right, images, classes)


@pytest.mark.parametrize(
    ("right", "images", "classes"),
    [(0, 15, 1000), (0, 6, 3), (10, 20, 2), (90, 50_000, 1000), (7, 100, 1000), (9, 9, 10)],
)
def test_what_is_better_or_on_few_images_is_not(right: int, images: int, classes: int) -> None:
    assert not at_chance(right, images, classes)


def test_nothing_is_said_of_no_image_or_one_class() -> None:
    assert not at_chance(0, 0, 10)
    assert not at_chance(0, 10, 1)


@pytest.mark.parametrize(("accuracy", "told"), [(0.0, True), (0.1, True), (0.9, False)])
def test_a_store_at_chance_has_a_problem_that_names_the_remedy(
    accuracy: float, told: bool, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    unpruned = put(store, make_run("full", keep=64), accuracy=accuracy)
    put(store, make_run("tome", keep=32), accuracy=accuracy)
    ids = [f"test/{index:04d}" for index in range(200)]
    for logits, number in ((None, 0), (np.zeros((200, 10), np.float32), int(told))):
        if logits is not None:
            store.write_logits(unpruned.id, ids, logits)
        problems = findings_of(store).problems
        assert len(problems) == number
    assert all("no better than guessing among 10 classes" in line for line in problems)
    assert all("labels=FILE" in line for line in problems)
