"""The methods of docs/appending_tokens.md keep the promises the page speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import keeprate
from keeprate.testing import Verdict
from keeprate.testing.cases import MAIN_KINDS
from keeprate.testing.lookup import subject_of
from keeprate.testing.runner import run_method
from paths import DOCS
from references.tiny import images_for, tiny_vit

pytestmark = pytest.mark.usefixtures("own_registry")
TRIED = ("described", "counts", "sizes", "trace")


@pytest.mark.parametrize("name", ["mean_rest.py", "alike_pairs.py"])
def test_a_method_of_the_page_keeps_its_promises(tmp_path: Path, name: str) -> None:
    page = (DOCS / "appending_tokens.md").read_text(encoding="utf-8")
    pattern = rf"```python\n(# {re.escape(name)}\n.*?)```"
    [code] = re.findall(pattern, page, flags=re.DOTALL)
    plugin = tmp_path / name
    plugin.write_text(code)
    outcomes = run_method(subject_of(str(plugin)), TRIED, MAIN_KINDS[:2])
    verdict = Verdict("it", tuple(outcomes))
    assert verdict.holds, str(verdict)


def test_images_are_left_with_numbers_of_their_own(tmp_path: Path) -> None:
    page = (DOCS / "appending_tokens.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(# alike_pairs\.py\n.*?)```", page, flags=re.DOTALL)
    plugin = tmp_path / "alike_pairs.py"
    plugin.write_text(code)
    model = tiny_vit()
    reduced = keeprate.reduce(model, subject_of(f"{plugin}:threshold=0.2").make(), "25@0,20@2")
    with torch.inference_mode():
        reduced(images_for(model))
    assert len(set(reduced.token_counts[:, 0].tolist())) > 1
    assert int(reduced.token_counts[:, 3].max()) <= 21
