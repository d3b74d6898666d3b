"""Mistakes of a method's author that show in a run: method, block, what is wrong, line, remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import keeprate
from keeprate import KeeprateError
from keeprate.method import Method
from keeprate.plugins.parameters import build, values_of
from keeprate.plugins.registry import load
from references.tiny import images_for, tiny_vit

SCORING = """
import torch
from keeprate import Method, Needs, hookimpl


class Mine(Method):
    name = "mine"
    needs = Needs.KEYS

    def {verb}(self, tokens, attention, stage):
        {body}


@hookimpl
def keeprate_methods():
    return [Mine]
"""
SHAPE = "score must be one number per token, prefix tokens included, (3, 26), not"
RETURN = "Return what tokens.keep, tokens.keep_top or tokens.merge gives."
THERE = "There were 3 images, 26 tokens (1 of them prefix tokens), 24 channels."
NAN = "Look for 0 / 0, inf - inf, and logarithms or roots of negative numbers."

RUNNING = {  # verb, body, what is said, line, remedy
    "None": ("score", "tokens.size", f"{SHAPE} NoneType", 10, "Does it lack a return?"),
    "a list": ("score", "return [1]", f"{SHAPE} list", 10, "Return a tensor (B, N)."),
    "patch tokens only": (
        "score",
        "return tokens.size[:, 1:]",
        f"{SHAPE} (3, 25)",
        10,
        "Scores of prefix tokens are ignored, but must be there: score all tokens.",
    ),
    "a score per head": (
        "score",
        "return attention.k.norm(dim=-1)",
        f"{SHAPE} (3, 3, 26)",
        10,
        "Combine the heads, as in score.mean(dim=1).",
    ),
    "a last dimension": (
        "score",
        "return tokens.size[..., None]",
        f"{SHAPE} (3, 26, 1)",
        10,
        "score.squeeze(-1) does it.",
    ),
    "another shape": ("score", "return tokens.size.mean()", f"{SHAPE} ()", 10, "Return (B, N)."),
    "whole numbers": (
        "score",
        "return tokens.size.long()",
        "score must be floating-point, not torch.int64",
        10,
        "Return score.float().",
    ),
    "another device": (
        "score",
        "return tokens.size.to('meta')",
        "score is on meta, the tokens are on cpu",
        10,
        "Make its tensors with device=tokens.x.device.",
    ),
    "not a number": (
        "score",
        "return torch.where(tokens.image[:, None] == 1, torch.nan, tokens.size)",
        "score is not a number (NaN) for some tokens, the first token 0 of image 1",
        10,
        NAN,
    ),
    "the end of the process": (
        "score",
        "raise SystemExit('enough')",
        "score raised SystemExit: enough",
        11,
        THERE,
    ),
    "an exception": (
        "score",
        "return tokens.size / [0]",
        "score raised TypeError: unsupported operand type(s) for /: 'Tensor' and 'list'",
        11,
        THERE,
    ),
    "a need that is not declared": (
        "score",
        "return attention.weights.mean(dim=(1, 2))",
        "score: attention.weights was read by a method that declares needs = KEYS; "
        "declare needs = Needs.WEIGHTS",
        11,
        "",
    ),
    "no tokens": (
        "reduce",
        "tokens.keep",
        "returned a NoneType, not Tokens",
        10,
        "Does it lack a return?",
    ),
    "a tensor": ("reduce", "return tokens.x", "returned a Tensor, not Tokens", 10, RETURN),
    "too few": (
        "reduce",
        "return tokens.keep_top(tokens.size, 3)",
        "kept 3 patch tokens where 12 were scheduled",
        10,
        "stage.keep says how many, prefix tokens not counted.",
    ),
    "another precision": (
        "reduce",
        "return tokens.with_x(tokens.x.half())",
        "changed the channels, the type or the device of its tokens",
        10,
        "Tokens stay torch.float32 on cpu.",
    ),
    "a prefix token gone": (
        "reduce",
        "return tokens.keep(torch.arange(1, 14).expand(3, -1))",
        "dropped, moved or changed prefix tokens",
        10,
        "They are the first 1 of the tokens, and stay there.",
    ),
    "an index out of range": (
        "reduce",
        "return tokens.keep(torch.arange(20, 33).expand(3, -1))",
        "reduce: tokens.keep: index names position 26 of image 0, which has 26 tokens: "
        "positions are 0 to 25, prefix tokens first",
        11,
        "",
    ),
    "an index twice": (
        "reduce",
        "return tokens.keep(torch.zeros(3, 13, dtype=torch.int64))",
        "reduce: tokens.keep: index names position 0 of image 0 more than once: a token can be "
        "kept once. Where that is padding, say so: keep(index, valid=...)",
        11,
        "",
    ),
    "a mask": (
        "reduce",
        "return tokens.keep(tokens.size > 0)",
        "reduce: tokens.keep: index must be positions, int64 (B, K), not a mask (torch.bool): "
        "rank by it instead, tokens.keep_top(mask.float(), k)",
        11,
        "",
    ),
    "NaN of its own": (
        "reduce",
        "return tokens.keep_top(tokens.size * torch.nan, stage.keep)",
        "reduce: tokens.top: score is not a number (NaN) for some tokens, which cannot be ranked",
        11,
        "",
    ),
}


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return tiny_vit()


@pytest.mark.sample(5)
@pytest.mark.parametrize("case", RUNNING)
def test_a_method_that_fails_in_a_run_says_why_where_and_what_to_do(
    tmp_path: Path, vit: nn.Module, case: str
) -> None:
    verb, body, said, line, remedy = RUNNING[case]
    method, path = written_method(tmp_path, SCORING.format(verb=verb, body=body))
    reduced = keeprate.reduce(vit, method, "12@1")
    with pytest.raises(KeeprateError) as refused, torch.inference_mode():
        reduced(images_for(vit))
    between = " " if verb == "reduce" and not said.startswith("reduce") else ": "
    end = f". {remedy}" if remedy else ""
    assert str(refused.value) == (f"Method 'mine' at block 1{between}{said} ({path}:{line}){end}")


def written_method(folder: Path, code: str) -> tuple[Method, Path]:
    path = folder / "mine.py"
    path.write_text(code)
    found = load([path], strict=True, environ={"KEEPRATE_PLUGINS": ""}, directory=folder)
    return found.method("mine")(), path


def test_what_a_method_says_to_its_user_itself_is_left_as_it_is(
    tmp_path: Path, vit: nn.Module
) -> None:
    body = "from keeprate import KeeprateError; raise KeeprateError('Not on Sundays.')"
    method, _ = written_method(tmp_path, SCORING.format(verb="score", body=body))
    with pytest.raises(KeeprateError, match=r"^Not on Sundays\.$"):
        keeprate.reduce(vit, method, "12@1")(images_for(vit))


def test_the_end_of_memory_is_left_to_those_who_mend_it(tmp_path: Path, vit: nn.Module) -> None:
    code = SCORING.format(verb="score", body="raise torch.OutOfMemoryError('out of memory')")
    method, _ = written_method(tmp_path, code)
    with pytest.raises(torch.OutOfMemoryError):
        keeprate.reduce(vit, method, "12@1")(images_for(vit))


INIT = """from keeprate import Method, hookimpl

class Mine(Method):
    name = 'mine'

    def __init__(self, rate: float = 0.5):
        {body}

@hookimpl
def keeprate_methods():
    return [Mine]
"""


def test_a_parameter_that_is_not_kept_is_named_with_the_remedy(tmp_path: Path) -> None:
    method, path = written_method(tmp_path, INIT.format(body="self.speed = rate"))
    with pytest.raises(KeeprateError) as refused:
        values_of(method)
    assert str(refused.value) == (
        f"Mine must keep its parameter rate as an attribute of that name ({path}:3). "
        "Write self.rate = rate in __init__."
    )


def test_a_constructor_that_raises_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(INIT.format(body="self.rate = self.speed"))
    found = load([path], strict=True, environ={"KEEPRATE_PLUGINS": ""}, directory=tmp_path)
    with pytest.raises(KeeprateError) as refused:
        build("method", found.method("mine"), {})
    assert str(refused.value) == (
        "Method 'mine' cannot be made: AttributeError: 'Mine' object has no attribute 'speed' "
        f"({path}:7)"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "name", ["tome", "zero-tprune", "random", "class-attention", "attention-score"]
)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_was_not_finite_before_a_method_is_not_its_mistake(
    name: str, value: float, dtype: torch.dtype
) -> None:
    reduced = keeprate.reduce(tiny_vit(depth=2).to(dtype), name, "keep=0.7@1")
    images = images_for(reduced.model)
    images[1, 0, 0, 0] = value
    with pytest.raises(KeeprateError) as error:
        reduced(images)
    assert str(error.value) == (
        f"The tokens of block 1, which method '{name}' was given, are not finite (NaN or "
        "infinity), the first those of image 1: look for such values in the image and in the "
        f"weights, and for overflow in {dtype}."
    )


def test_attention_that_overflows_is_not_the_mistake_of_a_method() -> None:
    reduced = keeprate.reduce(tiny_vit(depth=2), "attention-score", "keep=0.7@0")
    with torch.no_grad():
        reduced.model.blocks[0].attn.qkv.weight.mul_(1e30)
    with pytest.raises(KeeprateError, match=r"The (queries|keys|attention weights) of block 0, wh"):
        reduced(images_for(reduced.model))
