"""Time how fast one core gets images ready: decoded, kept decoded the first time, kept before.

    python benchmarks/decoding.py IMAGENET_FOLDER [--image-size N] [--rounds N] [--cache FOLDER]

IMAGENET_FOLDER holds WordNet-id folders. Every round goes through all images three times: without
a cache, with an empty one (in a new folder below FOLDER, by default the system's for temporary
files), and with the full one; then it only reads. The first round warms up and does not count. A
row gives the median of the rounds and, as noise, the slowest and the fastest.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from keeprate.backbones.loading.model_input import ModelInput
from keeprate.data.preprocessing import ImagePreparation
from keeprate.data.samples import ImageSamples
from keeprate_datasets.imagenet import ImageNet


def timed(each: Callable[[int], object], images: int) -> float:
    """Return the images per second of doing something with each."""
    started = time.perf_counter()
    for position in range(images):
        each(position)
    return images / (time.perf_counter() - started)


def opened(preparation: ImagePreparation, images: int, cache: Path | None) -> ImageSamples:
    """Return the samples, as a comparison opens them."""
    samples = preparation.prepare(range(images), cache).samples
    assert isinstance(samples, ImageSamples)
    return samples


def one_round(preparation: ImagePreparation, images: int, below: Path | None) -> dict[str, float]:
    """Return the images per second of every way, each once."""
    with tempfile.TemporaryDirectory(dir=below) as folder:
        found = {
            "decoded, resized, normalised": timed(
                opened(preparation, images, None).__getitem__, images
            ),
            "the same, and kept": timed(
                opened(preparation, images, Path(folder)).__getitem__, images
            ),
        }
        kept = opened(preparation, images, Path(folder))
        found["kept before: read, verified, normalised"] = timed(kept.__getitem__, images)
        found["kept before: read and verified"] = timed(kept.load, images)
    return found


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data, half = ImageNet(asked.folder), (0.5, 0.5, 0.5)
    data.bind(1000, None)
    size = (asked.image_size, asked.image_size)
    preparation = ImagePreparation(data, ModelInput(size, half, half, "bicubic", 0.9, "center"))
    images = len(data.samples())
    rounds = [one_round(preparation, images, asked.cache) for _ in range(asked.rounds + 1)][1:]
    print(f"\n{images} images, {size[0]} x {size[1]}, one core, {asked.rounds} rounds in turns\n")
    print("| way | images/s | slowest to fastest | ms an image | times as fast |")
    print("| --- | ---: | ---: | ---: | ---: |")
    plain = [next(iter(each.values())) for each in rounds]
    for way in rounds[0]:
        speeds = [each[way] for each in rounds]
        speed = statistics.median(speeds)
        ratio = statistics.median(a / b for a, b in zip(speeds, plain, strict=True))
        noise = f"{min(speeds):.0f} to {max(speeds):.0f}"
        print(f"| {way} | {speed:.0f} | {noise} | {1000 / speed:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
