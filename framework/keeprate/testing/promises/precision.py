"""Half precision stays finite, and gradients flow through the tokens that are kept."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ...reduction.plan import refuse_unsuited
from ...tokens import Tokens
from ..bench import Bench, attempted, backbone_of, reduced
from ..cases import MAIN_KINDS, Case
from ..outcome import Broken, Check
from ..recording import Call, watched
from .tokens import patches_left


def _half(bench: Bench, dtype: str) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(dtype=dtype)):
        ran = bench.run(case)
        for call in ran.calls:
            score = call.result if call.function == "score" else None
            if isinstance(score, Tensor) and bool(score.isnan().any()):
                count, block = int(score.isnan().sum()), call.stage.block
                raise Broken(f"{count} scores are NaN at block {block}", case) from ran.stop
        if not bool(ran.logits.isfinite().all()):
            raise Broken(f"{int((~ran.logits.isfinite()).sum())} logits are not finite", case)
    return ""


def _gradients(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(batch=2), MAIN_KINDS):
        plain = bench.subject.make()
        refuse_unsuited(backbone_of(case), plain)
        method, calls = watched(plain)
        images = case.images().requires_grad_()
        with torch.enable_grad():
            ran = attempted(case, reduced(case, method), calls, images, case.index())
            logits = ran.logits
            for call in ran.reductions:
                _check_call(call, case)
            _check_whole(logits, images, case)
    return ""


def _check_call(call: Call, case: Case) -> None:
    """Follow the kept tokens of one stage back to those they come from."""
    before, after = call.tokens.x, call.result.x
    where = f"at block {call.stage.block}"
    if not after.requires_grad:
        raise Broken(f"{where} reduce returns tokens without a gradient", case)
    generator = torch.Generator().manual_seed(0)
    towards = torch.randn(after.shape, generator=generator).to(after)
    towards[:, : call.tokens.num_prefix] = 0
    if call.result.valid is not None:
        towards = towards * call.result.valid[..., None]
    (slope,) = torch.autograd.grad(after, before, towards, retain_graph=True, allow_unused=True)
    reached = [0] * len(before) if slope is None else _reached(slope, call.tokens)
    for image, (count, left) in enumerate(zip(reached, patches_left(call.result), strict=True)):
        if count < left:
            raise Broken(
                f"{where} {left} patch tokens of image {image} are kept, and gradients reach "
                f"{count} of those that came in",
                case,
            )


def _reached(slope: Tensor, tokens: Tokens) -> list[int]:
    patches = slope[:, tokens.num_prefix :]
    reached: list[int] = (patches != 0).any(dim=2).sum(dim=1).tolist()
    return reached


def _check_whole(logits: Tensor, images: Tensor, case: Case) -> None:
    """Follow the logits back to the images and to the parameters of the first block."""
    block: nn.Module = case.model().blocks[0]  # type: ignore[index,assignment]
    ends = {"the images": images}
    ends |= {f"blocks.0.{name}": each for name, each in block.named_parameters()}
    slopes = torch.autograd.grad(logits.sum(), list(ends.values()), allow_unused=True)
    for name, slope in zip(ends, slopes, strict=True):
        if slope is not None and not bool(slope.isfinite().all()):
            raise Broken(f"the gradient of {name} is not finite", case)
    if slopes[0] is None or not bool((slopes[0] != 0).any()):
        raise Broken("no gradient reaches the images", case)


PRECISION = (
    *(
        Check(
            dtype,
            f"In {dtype} scores are numbers and logits are finite.",
            partial(_half, dtype=dtype),
            ("score", "reduce"),
        )
        for dtype in ("float16", "bfloat16")
    ),
    Check(
        "gradients",
        "Gradients flow through the tokens that are kept, and are finite.",
        _gradients,
    ),
)
