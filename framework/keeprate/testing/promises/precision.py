"""Half precision stays finite, and gradients flow through the tokens that are kept."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from ...reduction.suitability import refuse_unsuited
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
        unwatched = bench.subject.make()
        refuse_unsuited(backbone_of(case), unwatched)
        method, calls = watched(unwatched)
        images = case.images().requires_grad_()
        with torch.enable_grad():
            ran = attempted(case, reduced(case, method), calls, images, case.index())
            logits = ran.logits
            for call in ran.reductions:
                _check_stage(call, case)
            _check_model(logits, images, case)
    return ""


def _check_stage(call: Call, case: Case) -> None:
    """Raise Broken unless gradients of a stage's kept tokens reach as many tokens before it."""
    tokens_before, tokens_after = call.tokens.x, call.result.x
    where = f"at block {call.stage.block}"
    if not tokens_after.requires_grad:
        raise Broken(f"{where} reduce returns tokens without a gradient", case)
    # random weights: the gradients of a plain sum may cancel to zero
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(tokens_after.shape, generator=generator).to(tokens_after)
    # only what is kept of the patch tokens counts, not prefix tokens or padding
    direction[:, : call.tokens.num_prefix] = 0
    if call.result.valid is not None:
        direction = direction * call.result.valid[..., None]
    (gradient,) = torch.autograd.grad(
        tokens_after, tokens_before, direction, retain_graph=True, allow_unused=True
    )
    reached = (
        [0] * len(tokens_before) if gradient is None else _patches_reached(gradient, call.tokens)
    )
    for image, (count, kept) in enumerate(zip(reached, patches_left(call.result), strict=True)):
        if count < kept:
            raise Broken(
                f"{where} {kept} patch tokens of image {image} are kept, and gradients reach "
                f"{count} of those that came in",
                case,
            )


def _patches_reached(gradient: Tensor, tokens: Tokens) -> list[int]:
    patches = gradient[:, tokens.num_prefix :]
    counts: list[int] = (patches != 0).any(dim=2).sum(dim=1).tolist()
    return counts


def _check_model(logits: Tensor, images: Tensor, case: Case) -> None:
    """Raise Broken unless gradients reach the images and those of the first block are finite."""
    block: nn.Module = case.model().blocks[0]  # type: ignore[index,assignment]
    sources = {"the images": images}
    sources |= {f"blocks.0.{name}": parameter for name, parameter in block.named_parameters()}
    gradients = torch.autograd.grad(logits.sum(), list(sources.values()), allow_unused=True)
    for name, gradient in zip(sources, gradients, strict=True):
        if gradient is not None and not bool(gradient.isfinite().all()):
            raise Broken(f"the gradient of {name} is not finite", case)
    if gradients[0] is None or not bool((gradients[0] != 0).any()):
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
