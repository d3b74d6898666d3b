"""The method of docs/carrying_state.md keeps its promises and averages what the page says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

import keeprate
from docs_factory import blocks, draw_svg_alone, run_page, write_files
from keeprate import Method
from keeprate.plugins.registry import activate, load
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.testing import Verdict
from keeprate.testing.cases import KINDS, MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method
from references.tiny import images_for, tiny_vit

PAGE = "carrying_state.md"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    activate(load())
    yield
    activate(load())


@pytest.fixture
def method() -> type[Method]:
    write_files(blocks(PAGE))
    return subject_of("attention_average.py").cls


@pytest.mark.parametrize(
    "kinds",
    [MAIN_KINDS[:1], pytest.param(tuple(KINDS), marks=pytest.mark.slow)],
    ids=["one kind", "all kinds"],
)
def test_the_method_keeps_every_promise(method: type[Method], kinds: tuple[str, ...]) -> None:
    verdict = Verdict("it", tuple(run_method(subject_of(method), (), kinds)))
    assert verdict.holds, str(verdict)


@pytest.mark.slow
def test_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_svg_alone(monkeypatch)
    assert run_page(PAGE) == 2


def scores_of(model: ReducedModel, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What the method ranks by and what each token draws, (B, N), at every stage."""
    seen: list[tuple[Tensor, Tensor]] = []
    model.watch = lambda tokens, attention, stage: seen.append(
        (attention.score, attention.weights.mean(dim=(1, 2)))
    )
    with torch.inference_mode():
        model(images)
    return seen


def test_every_token_has_the_average_of_what_it_drew(method: type[Method]) -> None:
    model = keeprate.reduce(tiny_vit(), method, "keep=0.7,0.5,0.5@0,1,3", memory=0.25)
    seen = scores_of(model, images_for(model.model))
    for image in range(3):
        _, drawn = seen[0]
        average = drawn[image].tolist()
        for (_, before), (score, drawn) in pairwise(seen):
            ranked = sorted(range(1, before.shape[1]), key=lambda place: -average[place])
            kept = [0, *sorted(ranked[: drawn.shape[1] - 1])]
            now = drawn[image].tolist()
            average = [0.25 * average[old] + 0.75 * now[new] for new, old in enumerate(kept)]
            torch.testing.assert_close(score[image], torch.tensor(average))


def test_without_memory_it_is_attention_score(method: type[Method]) -> None:
    model = tiny_vit()
    images = images_for(model)
    ours = keeprate.reduce(model, method, "keep=0.7@0,1,2", memory=0.0)
    other = keeprate.reduce(model, "attention-score", "keep=0.7@0,1,2")
    remembering = keeprate.reduce(model, method, "keep=0.7@0,1,2", memory=0.9)
    with torch.inference_mode():
        assert torch.equal(ours(images), other(images))
        assert not torch.equal(remembering(images), other(images))
