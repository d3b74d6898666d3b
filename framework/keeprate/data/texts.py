"""Turn texts into a model's inputs: a tokenizer's ids, cut off at a length, padded to a batch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ..dataset import TextDataSet
from ..errors import KeeprateError

IDS, MASK = "input_ids", "attention_mask"

Encoded = Mapping[str, list[int]]
"""The output of a tokenizer for one text: lists of the same length, by name."""


@dataclass(frozen=True)
class TextInput:
    """How texts become a model's inputs: the tokenizer, and the most tokens that a text may have.

    `names` are the names of the inputs that the model reads.
    """

    tokenizer: Any
    max_length: int
    names: Collection[str]

    def encode(self, texts: Sequence[str]) -> tuple[list[Encoded], int]:
        """Return the tokens of each text, and how many texts were too long and cut off."""
        encoded = self._encode_all(texts, truncation=False)
        # only the long ones again, truncated: a tokenizer does not say which texts it cut off
        long = [i for i, text in enumerate(encoded) if len(text[IDS]) > self.max_length]
        if long:
            truncated = self._encode_all([texts[i] for i in long], truncation=True)
            for i, text in zip(long, truncated, strict=True):
                encoded[i] = text
        return encoded, len(long)

    def _encode_all(self, texts: Sequence[str], *, truncation: bool) -> list[Encoded]:
        limit = {"truncation": True, "max_length": self.max_length} if truncation else {}
        encoding = self.tokenizer(list(texts), padding=False, verbose=False, **limit)
        # the mask is made with the batch: without padding it is all ones
        names = [name for name in self.names if name in encoding and name != MASK]
        return [
            {name: list(values) for name, values in zip(names, row, strict=True)}
            for row in zip(*(encoding[name] for name in names), strict=True)
        ]


class TextSamples(Dataset[tuple[dict[str, Tensor], int]]):
    """The samples of a data set at `indices`, as tokens, for a `DataLoader`.

    Items are (tensors int64 (N,) by name, index); `index` is the position in
    `data.samples()`. `truncated` is how many texts were longer than `given.max_length`.
    """

    def __init__(self, data: TextDataSet, given: TextInput, indices: Sequence[int]) -> None:
        self.data = data
        self.given = given
        self.indices = tuple(indices)
        # all at once: stages and costs depend on the lengths, so they must be known beforehand
        self.encoded, self.truncated = given.encode([data.text(index) for index in indices])
        self._refuse_empty()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[dict[str, Tensor], int]:
        index = self.indices[position]
        tensors = {name: torch.tensor(ids) for name, ids in self.encoded[position].items()}
        return tensors, index

    @staticmethod
    def collate(
        items: Sequence[tuple[dict[str, Tensor], int]],
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Make a batch: pad the texts on the right to the longest one, and add the mask."""
        texts = [text for text, _ in items]
        padded = {
            name: pad_sequence([text[name] for text in texts], batch_first=True)
            for name in texts[0]
        }
        masks = [torch.ones_like(text[IDS]) for text in texts]
        padded[MASK] = pad_sequence(masks, batch_first=True)
        return padded, torch.tensor([index for _, index in items])

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """How many texts there are of each size, (1, tokens)."""
        return Counter((1, len(text[IDS])) for text in self.encoded)

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of all tokens: another vocabulary makes another run."""
        digest = hashlib.sha256()
        for text in self.encoded:
            digest.update(repr(sorted(text.items())).encode())
        return digest.hexdigest()

    def _refuse_empty(self) -> None:
        """Raise KeeprateError for a text without tokens, which no model can read."""
        for index, text in zip(self.indices, self.encoded, strict=True):
            if not text[IDS]:
                name = self.data.samples()[index].id
                raise KeeprateError(f"The tokenizer makes no token of text '{name}'.")
