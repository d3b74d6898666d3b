"""The method of docs/skipping.md keeps its promises, and costs what the page says."""

from __future__ import annotations

import pytest

import keeprate
from docs_factory import blocks, write_files
from keeprate.backbones.lookup import adapt
from keeprate.reduction.macs import tokens_per_block
from keeprate.testing import Verdict
from keeprate.testing.cases import MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method
from references.tiny import tiny_vit

pytestmark = pytest.mark.usefixtures("own_registry", "own_folder")
TRIED = ("described", "parameters", "comes-back", "counts", "sizes", "trace", "batch", "overhead")


@pytest.mark.parametrize("spec", ["pass_some.py", "pass_some.py:back=2"])
def test_the_method_of_the_page_keeps_its_promises(spec: str) -> None:
    write_files(blocks("skipping.md"))
    verdict = Verdict("it", tuple(run_method(subject_of(spec), TRIED, MAIN_KINDS[1:2])))
    assert verdict.holds, str(verdict)


def test_counts_are_those_of_all_tokens_again_once_they_are_back() -> None:
    write_files(blocks("skipping.md"))
    model = tiny_vit("vit_base_patch16_siglip_gap_224", depth=6)
    method = subject_of("pass_some.py:back=2,4").make()
    reduced = keeprate.reduce(model, method, "12@0,12@2,12@4")
    passing = tokens_per_block(adapt(model), 25, method, reduced.stages()).attention
    assert passing == (25, 12, 25, 12, 25, 12)
    with pytest.raises(keeprate.KeeprateError, match="keeps 13 patch tokens at block 2"):
        keeprate.reduce(model, subject_of("pass_some.py").cls(), "12@0,13@2")
