"""Train the classifier that ships with the embedded data set: minutes on a CPU.

Writes digits.safetensors and digits.json (the training log) into the given folder, by default the
package's own. The number of epochs is fixed beforehand and the held-out digits are looked at once,
after the last epoch: nothing is selected on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import time
from pathlib import Path

import sklearn
import timm
import torch
from safetensors.torch import save
from sklearn.datasets import load_digits
from torch import Tensor, nn

from keeprate_datasets import digits

SEED = 0
EPOCHS = 150
WARM_UP_EPOCHS = 5
BATCH_SIZE = 63  # 1197 = 19 * 63
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
LABEL_SMOOTHING = 0.05
DROP_PATH = 0.05

MAX_ROTATION = math.radians(12)
MAX_SHEAR = 0.15
MAX_SCALE = 0.12
MAX_SHIFT = 0.15  # of half the image's side
MAX_NOISE = 0.15  # standard deviation, for images in -1..1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(digits.__file__).parent)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    started = time.perf_counter()
    torch.manual_seed(SEED)
    model = digits.new_classifier(drop_path_rate=DROP_PATH)
    losses = train(model, *pixels_and_labels(digits.training_positions()), arguments.epochs)
    correct, images = evaluate(model, *pixels_and_labels(digits.held_out_positions()))
    weights = arguments.folder / digits.WEIGHTS
    weights.write_bytes(save(model.state_dict()))
    log = {
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "held_out_images": images,
        "held_out_correct": correct,
        "held_out_accuracy": correct / images,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seed": SEED,
        "seconds": round(time.perf_counter() - started),
        "threads": torch.get_num_threads(),
        "settings": settings(arguments.epochs),
        "versions": versions(),
        "loss": [round(loss, 4) for loss in losses],
    }
    text = json.dumps(log, indent=2) + "\n"
    (arguments.folder / digits.TRAINING_LOG).write_text(text, encoding="utf-8")
    print(f"held out: {correct} of {images} correct ({correct / images:.2%})")


def train(model: nn.Module, pixels: Tensor, labels: Tensor, epochs: int) -> list[float]:
    """Train in place and return the mean loss of every epoch."""
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=LEARNING_RATE)
    steps = epochs * math.ceil(len(labels) / BATCH_SIZE)
    warm_up = steps * WARM_UP_EPOCHS // max(epochs, WARM_UP_EPOCHS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: rate(i, warm_up, steps))
    loss_of = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    losses = []
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for batch in torch.split(torch.randperm(len(labels)), BATCH_SIZE):
            loss = loss_of(model(augmented(pixels[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        losses.append(total / len(labels))
        print(f"epoch {epoch + 1}/{epochs}: loss {losses[-1]:.4f}", flush=True)
    return losses


def augmented(images: Tensor) -> Tensor:
    """Every image (B, 3, H, W) turned, sheared, scaled, shifted and made noisy at random."""
    count = len(images)

    def draw(most: float) -> Tensor:
        return (torch.rand(count) * 2 - 1) * most

    angle, scale_x, scale_y = draw(MAX_ROTATION), 1 + draw(MAX_SCALE), 1 + draw(MAX_SCALE)
    row_x = torch.stack([angle.cos() * scale_x, draw(MAX_SHEAR) - angle.sin(), draw(MAX_SHIFT)], 1)
    row_y = torch.stack([angle.sin(), angle.cos() * scale_y, draw(MAX_SHIFT)], 1)
    grid = nn.functional.affine_grid(
        torch.stack([row_x, row_y], 1), list(images.shape), align_corners=False
    )
    moved = nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    noise = torch.randn(count, 1, *images.shape[2:]) * (torch.rand(count, 1, 1, 1) * MAX_NOISE)
    return moved + noise


def rate(step: int, warm_up: int, steps: int) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to zero."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Matrices with weight decay; biases, norms and embeddings without."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or name in {"pos_embed", "cls_token"}
        (free if plain else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": free, "weight_decay": 0.0},
    ]


def pixels_and_labels(positions: object) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) in -1..1, as the classifier's mean and std make them, and labels."""
    data = load_digits()
    pixels = digits.enlarged(data.images[positions]).float() / 127.5 - 1
    return pixels, torch.from_numpy(data.target[positions])


@torch.inference_mode()
def evaluate(model: nn.Module, pixels: Tensor, labels: Tensor) -> tuple[int, int]:
    """How many are classified correctly, of how many."""
    model.eval()
    return int((model(pixels).argmax(1) == labels).sum()), len(labels)


def settings(epochs: int) -> dict[str, float]:
    return {
        "epochs": epochs,
        "warm_up_epochs": WARM_UP_EPOCHS,
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "label_smoothing": LABEL_SMOOTHING,
        "drop_path": DROP_PATH,
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
