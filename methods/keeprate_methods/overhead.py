"""What Zero-TPrune's pruning layer costs, in multiply-accumulates."""

from __future__ import annotations

from keeprate import Shape, Stage

from .layer_settings import LayerSettings
from .page_rank import MOST_ITERATIONS


def layer_macs(settings: LayerSettings, shape: Shape, stage: Stage) -> int:
    """Return the multiply-accumulates of one pruning layer for one image.

    A page rank step is the signal times the whole matrix of every head, alive or not, because that
    is what is computed; the restricted graph's row sums cost one step more.
    """
    parts = settings.pattern.split("-")
    removals = settings.removals(shape.patches, stage.keep)
    step = shape.heads * shape.tokens**2
    spent = 0
    for position, part in enumerate(parts):
        if part == "S":
            left = shape.patches - (removals["I"] if "I" in parts[:position] else 0)
            spent += _similarities(settings, shape, left) if removals["S"] else 0
            continue
        spent += step * (_iterations(settings, stage) if part == "I" else 1)
        restricted = part == "I" and "S" in parts[:position] and removals["S"] > 0
        spent += step if restricted and settings.renormalise else 0
    # what ranks by the block's output computes the matrix again once that output is there
    if settings.scores_block_output and parts != ["S"]:
        spent += step * shape.head_dim
    return spent + _absorbed(settings, shape, stage)


def _iterations(settings: LayerSettings, stage: Stage) -> int:
    if settings.tolerance is not None:
        return MOST_ITERATIONS
    return settings.iterations_at(stage.block, stage.depth)


def _width(settings: LayerSettings, shape: Shape) -> int:
    if settings.feature in ("x", "x_pre"):
        return shape.channels
    return shape.head_dim * (shape.heads if settings.feature_heads == "concat" else 1)


def _similarities(settings: LayerSettings, shape: Shape, patches: int) -> int:
    half = patches // 2
    pairs = patches**2 if settings.partition == "none" else half * (patches - half)
    return pairs * _width(settings, shape)


def _absorbed(settings: LayerSettings, shape: Shape, stage: Stage) -> int:
    if settings.on_drop in ("drop", "skip"):
        return 0
    dropped = shape.patches - stage.keep
    merged = dropped * shape.channels if settings.on_drop == "merge" else 0
    return dropped * stage.keep * _width(settings, shape) + merged
