"""The family that docs/new_backbone.md adds in one file works and is proved; lies are found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import keeprate
from keeprate import KeeprateError
from keeprate.cli import keeprate as command
from keeprate.plugins import registry as plugins
from keeprate.reduction import proof
from keeprate.testing.backbones.proof import randomise
from paths import DOCS

pytestmark = pytest.mark.usefixtures("own_folder", "own_registry")

PAGE = DOCS / "new_backbone.md"
HONEST = "return x + b.mlp(b.norm2(x))"


def example() -> str:
    [block] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


@pytest.fixture(autouse=True)
def _nothing_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_FOUND", {})


def check(text: str, *more: str) -> Result:
    Path("small_vit.py").write_text(text)
    return CliRunner().invoke(command, ["check-backbone", "small_vit.py", *more])


def test_the_example_is_proved_and_prints_what_the_page_shows() -> None:
    result = check(example())
    assert result.exit_code == 0, result.output
    [shown] = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    printed = result.output[: result.output.index("small-vit: two blocks")]
    assert without_errors(printed) == without_errors(shown)


def first_example() -> nn.Module:
    cls = plugins.registry().backbones["small-vit"].cls
    return randomise(next(iter(cls.examples().values()))()).eval()


def without_errors(text: str) -> str:
    return re.sub(r"error \d\.\de[+-]\d\d", "error", text)


def test_every_kind_of_method_runs_on_it() -> None:
    Path("small_vit.py").write_text(example())
    plugins.activate(plugins.load([Path("small_vit.py")]))
    model = first_example()
    images = torch.rand(2, 3, 32, 32)
    for method in ("tome", "random", "attention-score", "zero-tprune"):
        reduced = keeprate.reduce(model, method, budget="70%")
        assert reduced(images).shape == (2, 10)
    with pytest.raises(KeeprateError, match="needs a class token"):
        keeprate.reduce(model, "class-attention", budget="70%")


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("return x + b.mlp(x)", "With every token kept its logits differ by"),
        ("return x", "With every token kept its logits differ by"),
    ],
)
def test_a_family_that_computes_something_else_is_refused(lie: str, said: str) -> None:
    text = example().replace(HONEST, lie)
    result = check(text)
    assert result.exit_code == 1
    assert "FAIL  every token kept          error" in result.output
    assert "small-vit: two blocks" in result.output
    with pytest.raises(
        KeeprateError, match="backbone 'small-vit' does not compute what it.*" + said
    ):
        keeprate.reduce(first_example(), "tome", "r=2")


def test_a_family_that_only_pretends_to_reduce_is_refused() -> None:
    whole = """
    def attend(self, block, tokens, reader):
        b = self.blocks[block]
        x_pre = b.norm1(tokens.x)
        self.whole = x_pre if tokens.count == 64 else self.whole
        with reader.around(x_pre, b.attention):
            out = b.attention(self.whole)
        return tokens.x + out[:, : tokens.count]
"""
    text = example().replace("    def feed_forward(", f"{whole}\n    def feed_forward(")
    result = check(text)
    assert result.exit_code == 1
    assert "FAIL  oracle" in result.output
    with pytest.raises(KeeprateError, match=r"attention saw \[64, 64, 64, 64\] keys"):
        keeprate.reduce(first_example(), "tome", "r=2")


def test_a_fresh_model_with_a_head_of_zeros_proves_nothing_for_others() -> None:
    Path("small_vit.py").write_text(example().replace(HONEST, "return x + 0.5 * b.mlp(b.norm2(x))"))
    plugins.activate(plugins.load([Path("small_vit.py")]))
    fresh, trained = first_example(), first_example()
    torch.nn.init.zeros_(fresh.head.weight)
    torch.nn.init.zeros_(fresh.head.bias)
    keeprate.reduce(fresh, "tome", "r=2")
    with pytest.raises(KeeprateError, match="does not compute what it computes"):
        keeprate.reduce(trained, "tome", "r=2")


def test_wrong_costs_are_a_failed_check() -> None:
    result = check(example().replace("attention_per_token=4", "attention_per_token=3"))
    assert result.exit_code == 1
    assert "FAIL  MACs, plain" in result.output
    assert "by torch's flop counter" in result.output


def test_a_file_without_a_backbone_or_without_examples_is_refused() -> None:
    result = check("import keeprate\n\n@keeprate.hookimpl\ndef keeprate_methods(): return []")
    assert result.exit_code == 2
    assert "offers no backbone" in result.output
    result = check(example().replace("def examples(", "def illustrations("))
    assert result.exit_code == 2
    assert "names no example to check" in result.output
