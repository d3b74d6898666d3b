"""A method that keeps a different number of tokens in every image, to test padding with."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

import keeprate
from keeprate import Attention, Method, Needs, Place, Stage, Tokens


class Uneven(Method):
    """Keeps the patch tokens with the longest keys: in image i, i % 3 fewer than scheduled."""

    name = "uneven"
    needs = Needs.KEYS
    keeps_per_image = True

    def __init__(self, place: Place = Place.AFTER_BLOCK) -> None:
        self.place = place

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return attention.k.square().sum(dim=(1, 3))

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        score = attention.score.clone()
        if tokens.valid is not None:
            score.masked_fill_(~tokens.valid, -torch.inf)
        score[:, : tokens.num_prefix] = torch.inf
        order = score.argsort(dim=1, descending=True, stable=True)
        left = tokens.num_prefix + stage.keep - tokens.image % 3  # (B,)
        index = order[:, : int(left.max())]
        index[:, : tokens.num_prefix] = torch.arange(tokens.num_prefix)
        valid = torch.arange(index.shape[1]) < left[:, None]
        return replace(tokens.keep(index), valid=valid)


def assert_as_if_each_ran_alone(model: nn.Module, images: Tensor, place: Place) -> None:
    """Images padded to a common length give the logits they give by themselves (float64)."""
    reduced = keeprate.reduce(model, Uneven(place), "12@0,9@1")
    with torch.inference_mode():
        together = reduced(images)
        spent = reduced.macs_per_image.total.tolist()
        for number in range(len(images)):
            alone = reduced(images[number : number + 1], torch.tensor([number]))
            torch.testing.assert_close(together[number], alone[0], rtol=1e-9, atol=1e-9)
            assert reduced.macs_per_image.total.tolist() == [spent[number]]
    assert len(set(spent)) == 3
