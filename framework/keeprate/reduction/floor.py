"""The floor of a method's time: as many tokens at the same places, chosen without a look at any."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..attention import Attention
from ..method import Method, Place, Stage
from ..tokens import Tokens
from .macs import acting_stages
from .reduced_model import ReducedModel
from .schedule import parse_schedule


class Floor(Method):
    """Keeps the first tokens: what the counts of a method cost without scoring or merging."""

    name = "floor"

    def __init__(self, place: Place, method: Method) -> None:
        self.place, self.skips, self.back = place, method.skips, method.back

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Keep the prefix tokens and the first `stage.keep` patch tokens."""
        index = torch.arange(tokens.num_prefix + stage.keep, device=tokens.x.device)
        return tokens.keep(index.expand(len(tokens.x), -1))


def floor_of(reduced: ReducedModel, image_size: tuple[int, int]) -> ReducedModel | None:
    """Return a model with as many tokens in every half block that keeps the first ones.

    It shares the weights, and runs at `image_size` (height, width) in pixels alone. Before a block
    means after the one before it, which needs no look ahead. None where images have different
    numbers of tokens, or where none is removed.
    """
    plan, method = reduced.plan, reduced.plan.method
    if method.keeps_per_image:
        return None
    patches = plan.backbone.num_patches(image_size)
    acting = acting_stages(method, plan.stages(image_size), plan.backbone.depth, patches)
    kept = {stage.block: (left, method.left_after(left, stage.keep)) for left, stage in acting}
    counts = {block: after for block, (left, after) in kept.items() if after < left}
    place = method.place
    # what is skipped comes back before a block: there the places are not the same
    if place is Place.BEFORE_BLOCK and 0 not in counts and not method.skips:
        place, counts = Place.AFTER_BLOCK, {block - 1: keep for block, keep in counts.items()}
    if not counts:
        return None
    schedule = parse_schedule(",".join(f"{keep}@{block}" for block, keep in counts.items()))
    same = replace(plan, method=Floor(place, method), schedule=schedule, budget=None, _solved={})
    return ReducedModel(plan.backbone, same, check_values=False)
