"""Train the classifier that ships with a data set of digits, on a GPU where there is one.

Without one, "digits" takes about 20 minutes on two cores and "cluttered-digits" about an hour.
Writes the weights and the training log (JSON) into the given folder, by default the package's own.
The length of the training is fixed beforehand and the held-out digits are looked at once, after the
last step: nothing is selected on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sklearn
import timm
import torch
from safetensors.torch import save
from sklearn.datasets import load_digits
from torch import Tensor, nn

from keeprate.dataset import DataSet
from keeprate_datasets import cluttered_digits, digits
from keeprate_datasets.clutter import Clutter, cluttered, enlarged_digits

SEED = 0
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.05

MAX_ROTATION = math.radians(12)
MAX_SHEAR = 0.15
MAX_SCALE = 0.12


class Batch(NamedTuple):
    """Images (B, 3, H, W) in -1..1, as the classifier's mean and std make them, and labels (B,)."""

    pixels: Tensor
    labels: Tensor
    corner: tuple[int, int] = (0, 0)
    """Row and column, in the classifier's table of positions, of the first patch."""


class Recipe(NamedTuple):
    """How long and how fast a classifier is trained."""

    steps: int
    warm_up_steps: int
    batch_size: int
    steps_a_line: int
    """Steps whose mean loss makes a line of the log."""
    learning_rate: float
    drop_path: float = 0.0
    dtype: torch.dtype = torch.float32
    """Type of number of the weights in the file."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", choices=TRAININGS, default=digits.Digits.name)
    parser.add_argument("--folder", type=Path, default=Path(digits.__file__).parent)
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, for a short try")
    arguments = parser.parse_args()
    started = time.perf_counter()
    torch.manual_seed(SEED)
    training = TRAININGS[arguments.data](arguments.share)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = training.model().to(device)
    losses = train(model, training.batches(), training.recipe)
    weights = {
        name: weight.to("cpu", training.recipe.dtype) for name, weight in model.state_dict().items()
    }
    model.load_state_dict(weights)  # what is evaluated has the precision of the file
    data = training.data()
    correct, images = evaluate(model, data)
    file = arguments.folder / digits.weights_file(data.name)
    file.write_bytes(save(weights))
    log = {
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "held_out_images": images,
        "held_out_correct": correct,
        "held_out_accuracy": correct / images,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seed": SEED,
        "seconds": round(time.perf_counter() - started),
        "device": device,
        "threads": torch.get_num_threads(),
        "settings": training.settings(),
        "versions": versions(),
        "loss": [round(loss, 4) for loss in losses],
    }
    text = json.dumps(log, indent=2) + "\n"
    (arguments.folder / digits.log_file(data.name)).write_text(text, encoding="utf-8")
    print(f"held out: {correct} of {images} correct ({correct / images:.2%})")


class DigitsTraining:
    """Digits that fill the image, from random weights."""

    data = digits.Digits

    def __init__(self, share: float) -> None:
        images, self._labels = training_digits()
        self._pixels = digits.enlarged(images) / 127.5 - 1
        self._epochs = max(1, round(150 * share))
        size = 63  # 1197 = 19 * 63
        steps = math.ceil(len(self._labels) / size)
        warm_up = steps * min(5, self._epochs)
        self.recipe = Recipe(steps * self._epochs, warm_up, size, steps, 2e-3, drop_path=0.05)

    def model(self) -> nn.Module:
        return digits.new_classifier(drop_path_rate=self.recipe.drop_path)

    def batches(self) -> Iterator[Batch]:
        for _ in range(self._epochs):
            for chosen in torch.split(torch.randperm(len(self._labels)), self.recipe.batch_size):
                pixels = augmented(self._pixels[chosen], max_shift=0.15, max_noise=0.15)
                yield Batch(pixels, self._labels[chosen])

    def settings(self) -> dict[str, object]:
        return {"epochs": self._epochs, **settings_of(self.recipe)}


class ClutteredDigitsTraining:
    """Digits among clutter, on images that grow, from the classifier of the data set "digits".

    The smaller images have their place in the large one's table of positions drawn at random, so
    that all of it is trained from the beginning, at a fifth of the cost. Clutter grows to what the
    data set has during the first two sizes.
    """

    data = cluttered_digits.ClutteredDigits
    PHASES = ((8, 24_000), (10, 24_000), (12, 24_000), (14, 120_000))
    """Patches a side, and images of this size."""

    def __init__(self, share: float) -> None:
        images, self._labels = training_digits()
        self._digits = torch.from_numpy(enlarged_digits(images)).float()[:, None]
        size = 32
        self._phases = [(side, round(images * share) // size) for side, images in self.PHASES]
        steps = sum(count for _, count in self._phases)
        self.recipe = Recipe(steps, min(100, steps), size, 50, 1e-3, dtype=torch.float16)

    def model(self) -> nn.Module:
        model = digits.new_classifier(cluttered_digits.IMAGE_SIZE)
        weights = digits.load_classifier().state_dict()
        weights["pos_embed"] = resampled(weights["pos_embed"], model.patch_embed.grid_size)
        model.load_state_dict(weights)
        return model

    def batches(self) -> Iterator[Batch]:
        most = cluttered_digits.IMAGE_SIZE // 4
        numbers = np.random.RandomState(SEED)
        growing = sum(count for _, count in self._phases[:2])
        step = 0
        for side, count in self._phases:
            for _ in range(count):
                clutter = self._clutter(min(1.0, step / max(1, growing)), (side / most) ** 2)
                chosen = numbers.randint(len(self._labels), size=self.recipe.batch_size)
                shapes = augmented(self._digits[chosen], max_shift=0.0, max_noise=0.0)
                shapes = shapes.round().to(torch.uint8)[:, 0].numpy()
                images = [
                    cluttered(shapes, place, clutter, 4 * side, f"training {step} {place}")
                    for place in range(len(chosen))
                ]
                pixels = torch.from_numpy(np.stack(images))[:, None].expand(-1, 3, -1, -1)
                pixels = pixels / 127.5 - 1
                corner = numbers.randint(most - side + 1, size=2)
                yield Batch(pixels, self._labels[chosen], (int(corner[0]), int(corner[1])))
                step += 1

    def _clutter(self, grown: float, area: float) -> Clutter:
        """Return what the data set has, scaled to a part of the image, as far as it has grown."""
        full = cluttered_digits.DIFFICULTIES[cluttered_digits.TRAINED_DIFFICULTY]
        return Clutter(
            fewest=round(full.fewest * grown * area),
            most=max(1, round((2 + (full.most - 2) * grown) * area)),
            smooth_noise=round(full.smooth_noise * (1 + 3 * grown) / 4),
            fine_noise=round(full.fine_noise * (1 + 3 * grown) / 4),
            margin=full.margin,
        )

    def settings(self) -> dict[str, object]:
        phases = [{"patches_a_side": side, "steps": count} for side, count in self._phases]
        return {"phases": phases, **settings_of(self.recipe)}


TRAININGS = {training.data.name: training for training in (DigitsTraining, ClutteredDigitsTraining)}


def training_digits() -> tuple[np.ndarray, Tensor]:
    """Return the digits that are not held out (1197, 8, 8), with values 0..16, and their labels."""
    data = load_digits()
    positions = digits.training_positions()
    return data.images[positions], torch.from_numpy(data.target[positions])


def train(model: nn.Module, batches: Iterator[Batch], recipe: Recipe) -> list[float]:
    """Train in place and return the mean loss of every `steps_a_line` steps."""
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate(step, recipe.warm_up_steps, recipe.steps)
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    device = next(model.parameters()).device
    losses: list[float] = []
    total = 0.0
    model.train()
    started = time.perf_counter()
    for step, batch in enumerate(batches, start=1):
        logits = logits_at(model, batch.pixels.to(device), batch.corner)
        loss = loss_of(logits, batch.labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % recipe.steps_a_line == 0:
            losses.append(total / recipe.steps_a_line)
            total = 0.0
            seconds = time.perf_counter() - started
            print(f"step {step}/{recipe.steps}: loss {losses[-1]:.4f}, {seconds:.0f} s", flush=True)
    return losses


def logits_at(model: nn.Module, pixels: Tensor, corner: tuple[int, int]) -> Tensor:
    """Return the logits of images (B, 3, H, W) that begin at `corner` of the table of positions.

    An image as large as the table gives the model's own forward pass.
    """
    patches = model.patch_embed.proj(pixels)  # (B, C, rows, columns)
    (top, left), (rows, columns) = corner, patches.shape[-2:]
    table = model.pos_embed[:, 1:].unflatten(1, model.patch_embed.grid_size)
    positions = table[:, top : top + rows, left : left + columns].flatten(1, 2)
    tokens = patches.flatten(2).transpose(1, 2) + positions
    first = (model.cls_token + model.pos_embed[:, :1]).expand(len(tokens), -1, -1)
    return model.forward_head(model.norm(model.blocks(torch.cat([first, tokens], dim=1))))


def resampled(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return a table of positions (1, 1 + N, C) of a square grid for another grid (bicubic)."""
    first, rest = positions[:, :1], positions[:, 1:]
    side = math.isqrt(rest.shape[1])
    square = rest.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    larger = nn.functional.interpolate(square, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([first, larger.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def augmented(images: Tensor, max_shift: float, max_noise: float) -> Tensor:
    """Return every image (B, 3, H, W) turned, sheared, scaled, shifted and made noisy at random.

    The shift is in halves of the image's side, the noise a standard deviation.
    """
    count = len(images)

    def draw(most: float) -> Tensor:
        return (torch.rand(count) * 2 - 1) * most

    angle, scale_x, scale_y = draw(MAX_ROTATION), 1 + draw(MAX_SCALE), 1 + draw(MAX_SCALE)
    row_x = torch.stack([angle.cos() * scale_x, draw(MAX_SHEAR) - angle.sin(), draw(max_shift)], 1)
    row_y = torch.stack([angle.sin(), angle.cos() * scale_y, draw(max_shift)], 1)
    grid = nn.functional.affine_grid(
        torch.stack([row_x, row_y], 1), list(images.shape), align_corners=False
    )
    moved = nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    noise = torch.randn(count, 1, *images.shape[2:]) * (torch.rand(count, 1, 1, 1) * max_noise)
    return moved + noise


def rate(step: int, warm_up: int, steps: int) -> float:
    """Return the factor of the learning rate: a linear warm-up, then half a cosine down to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Return matrices with weight decay; biases, norms and embeddings without."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or name in {"pos_embed", "cls_token"}
        (free if plain else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": free, "weight_decay": 0.0},
    ]


@torch.inference_mode()
def evaluate(model: nn.Module, data: DataSet) -> tuple[int, int]:
    """Return how many images of the data set are classified correctly, and of how many."""
    model.eval()
    device = next(model.parameters()).device
    samples = data.samples()
    correct = 0
    for places in torch.split(torch.arange(len(samples)), 100):
        images = torch.stack([data.image(int(place)) for place in places])
        predicted = model((images / 127.5 - 1).to(device)).argmax(1).tolist()
        correct += sum(samples[i].label == p for i, p in zip(places, predicted, strict=True))
    return correct, len(samples)


def settings_of(recipe: Recipe) -> dict[str, object]:
    return {
        "steps": recipe.steps,
        "warm_up_steps": recipe.warm_up_steps,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "weight_decay": WEIGHT_DECAY,
        "label_smoothing": LABEL_SMOOTHING,
        "drop_path": recipe.drop_path,
    }


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "scikit-learn": sklearn.__version__,
    }


if __name__ == "__main__":
    main()
