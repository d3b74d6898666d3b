"""Print how many attention heads pass Zero-TPrune's variance filter, block by block.

    python benchmarks/head_filter.py WEIGHTS.safetensors IMAGENET_FOLDER [LIMIT]

One token is dropped per block so that every block is looked at; the rest of the model is as it is.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

import keeprate
from keeprate import Attention, Method, Needs, Place, Stage, Tokens
from keeprate.backbones.loading.load import load_model
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.data.images import build_transform
from keeprate_datasets.imagenet import ImageNet
from keeprate_methods.page_rank import head_variance, page_rank
from keeprate_methods.zero_tprune import ZeroTPrune


class Watcher(Method):
    """Notes, at each block, which heads pass."""

    name = "watcher"
    position = Place.AFTER_BLOCK
    needs = Needs.WEIGHTS

    def __init__(self) -> None:
        self.settings = ZeroTPrune()
        self.passes: dict[int, list[Tensor]] = defaultdict(list)

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the column means; keep which heads pass for the block's iterations."""
        iterations = self.settings.iterations_at(stage.block, stage.depth)
        signal = page_rank(attention.weights, iterations=iterations, emphasis="every")
        variance = head_variance(signal[..., tokens.num_prefix :])  # (B, H)
        passes = (variance >= self.settings.v_min) & (variance <= self.settings.v_max)
        self.passes[stage.block].append(passes)
        return attention.weights.mean(dim=(1, 2))


def main() -> None:
    """Print the table."""
    weights, folder = Path(sys.argv[1]), Path(sys.argv[2])
    limit = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    model = load_model("vit_tiny_patch16_224", weights=weights).model
    data = ImageNet(folder)
    data.bind(1000, None)
    transform = build_transform(ModelInput.of(model))
    step = max(1, len(data.samples()) // limit)
    images = [transform(data.image(i)) for i in range(0, len(data.samples()), step)][:limit]
    watcher = Watcher()
    with torch.inference_mode():
        reduced = keeprate.reduce(model, watcher, "r=1")
        for start in range(0, len(images), 20):
            reduced(torch.stack(images[start : start + 20]))
    print("| block | heads passing of all | images where none passes |\n| --- | ---: | ---: |")
    for block, parts in watcher.passes.items():
        passes = torch.cat(parts)  # (images, heads)
        none = 1 - passes.any(dim=1).float().mean()
        print(f"| {block} | {passes.float().mean():.2f} | {none:.2f} |")


if __name__ == "__main__":
    main()
