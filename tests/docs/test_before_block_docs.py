"""The methods of docs/before_a_block.md keep their promises, and do what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import keeprate
from docs_factory import blocks, write_files
from keeprate import Attention, Needs, Place, Stage, Tokens
from keeprate.testing import Verdict
from keeprate.testing.cases import MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method
from references.tiny import images_for, tiny_vit

pytestmark = pytest.mark.usefixtures("own_registry", "own_folder")
FILES = ("early.py", "queries_only.py", "farthest.py", "drawn_so_far.py", "sharper.py")
TRIED = ("described", "reads", "returns", "counts", "identity", "sizes", "batch", "overhead")


@pytest.mark.parametrize("name", FILES)
def test_a_method_of_the_page_keeps_its_promises(name: str) -> None:
    write_files(blocks("before_a_block.md"))
    assert Path(name).exists()
    verdict = Verdict("it", tuple(run_method(subject_of(name), TRIED, MAIN_KINDS[:1])))
    assert verdict.holds, str(verdict)


def test_queries_only_is_dropping_after_the_block() -> None:
    write_files(blocks("before_a_block.md"))

    @keeprate.as_method(needs=Needs.WEIGHTS, place=Place.AFTER_BLOCK)
    def after(tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Ranks by attention."""
        return attention.weights.mean(dim=(1, 2))

    model = tiny_vit().double()
    early, late = (
        keeprate.reduce(model, method, "11@1,6@2")
        for method in (subject_of("queries_only.py").cls, after)
    )
    with torch.inference_mode():
        torch.testing.assert_close(early(images_for(model)), late(images_for(model)))
    assert early.costs().total < late.costs().total
