"""Small checkpoints as transformers saves them: made here, nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from battery import randomised
from keeprate.backbones.huggingface.examples import build

transformers: Any = pytest.importorskip("transformers")

WORDS = [
    "a",
    "good",
    "bad",
    "film",
    "story",
    "the",
    "was",
    "great",
    "awful",
    "and",
    "very",
    "dull",
    "bright",
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
REVIEWS = {
    "a good film": "positive",
    "the story was awful": "negative",
    "a very very dull film and a bad story": "negative",
    "great": "positive",
    "the bad film": "negative",
    "a bright and good and great film": "positive",
    "the film was bad and the story was very very very bad and dull and awful": "negative",
}
BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": len(VOCABULARY),
    "max_position_embeddings": 24,
    "id2label": {0: "negative", 1: "positive"},
    "label2id": {"negative": 0, "positive": 1},
}
VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 3,
}


def text_checkpoint(folder: Path, model: str = "Bert", **settings: object) -> Path:
    """Save a small text classifier and its tokenizer into `folder`."""
    saved(build(model, {**BERT, **settings}), folder)
    words = folder / "vocab.txt"
    words.write_text("\n".join(VOCABULARY))
    transformers.BertTokenizerFast(str(words)).save_pretrained(folder)
    return folder


def image_checkpoint(
    folder: Path, model: str = "ViT", processor: Any = None, **settings: object
) -> Path:
    """Save a small image classifier and its image processor into `folder`."""
    saved(build(model, {**VIT, **settings}), folder)
    if processor is None:
        processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    return folder


def saved(model: nn.Module, folder: Path) -> nn.Module:
    """Save a model whose weights matter."""
    weighted: Any = randomised(model)
    with torch.no_grad():
        for parameter in weighted.parameters():
            parameter.mul_(2)
    weighted.save_pretrained(folder)
    return model


def review_file(folder: Path, name: str = "reviews.csv") -> Path:
    """Write the reviews as a CSV file."""
    file = folder / name
    rows = [f'"{text}",{label}\n' for text, label in REVIEWS.items()]
    file.write_text("".join(["text,label\n", *rows]))
    return file


def photographs(folder: Path, classes: tuple[str, ...]) -> Path:
    generator = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            pixels = generator.integers(0, 256, (40, 56, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder
