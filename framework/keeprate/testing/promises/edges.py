"""The edge cases: other image sizes, one image, no image, one token left, tokens all alike."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..bench import Bench, every_block, scheduled
from ..cases import MAIN_KINDS, Case
from ..outcome import Broken, Check, NotAsked
from .tokens import follow

SIZES = ((20, 20), (12, 28), (32, 20), (8, 16))
"""Images (height, width) of 25, 21, 40 and 8 patches."""


def _image_sizes(bench: Bench) -> str:
    bench.must_reduce()
    for size in SIZES:
        for case in bench.cases(Case(size=size), MAIN_KINDS):
            follow(bench, case)
    return ", ".join(f"{height} x {width}" for height, width in SIZES)


def _one_image(bench: Bench) -> str:
    bench.must_reduce()
    for case in bench.cases(Case(batch=1)):
        follow(bench, case)
    return ""


def _no_images(bench: Bench) -> str:
    method = bench.must_reduce()
    if method.keeps_per_image:
        raise NotAsked("it keeps a number of tokens per image, and there is no image")
    for case in bench.cases(Case(batch=0), MAIN_KINDS[:3]):
        ran = follow(bench, case)
        if len(ran.logits) != 0:
            raise Broken(f"no images give {len(ran.logits)} rows of logits", case)
    return ""


def _one_token(bench: Bench) -> str:
    method, fewest = bench.must_reduce(), 0
    for unscheduled in bench.cases(Case(size=(8, 8)), MAIN_KINDS):
        # a keep rate of 0 asks for all but one; `scheduled` stops at what the method can remove
        case = scheduled(method, replace(unscheduled, schedule=None), every_block(0.0))
        follow(bench, case)
        assert case.schedule is not None
        fewest = int(case.schedule.split(",")[-1].split("@")[0])
    return "" if fewest == 1 else f"{fewest} tokens left: four stages remove no more (most_removed)"


def _ties(bench: Bench) -> str:
    bench.must_reduce()
    # models that only add positions to the input: `Case.alike` sets these to zero
    for case in bench.cases(Case(alike=True), MAIN_KINDS[:2]):
        first, second = follow(bench, case), follow(bench, case)
        if not torch.equal(first.logits, second.logits):
            raise Broken("equal scores are told apart in another way every time", case)
    return ""


EDGES = (
    Check(
        "image-sizes",
        "Images of any size are reduced as scheduled, oblong ones too.",
        _image_sizes,
    ),
    Check("one-image", "A batch of one image works.", _one_image),
    Check("no-images", "A batch of no images gives no logits, and no error.", _no_images),
    Check("one-token", "All patch tokens but one can go.", _one_token),
    Check(
        "ties",
        "Tokens that are all alike are reduced as scheduled, and give finite logits.",
        _ties,
        ("score", "reduce"),
        ("repeats",),
    ),
)
