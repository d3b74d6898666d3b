"""transformers' text classifiers: BERT, RoBERTa, ELECTRA and their like, and DistilBERT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from ...backbone import HeadCost, Inputs
from ...errors import KeeprateError
from ...tokens import Tokens
from ..timm.isotropic import linear_macs
from .layouts import BERT, DISTILBERT
from .transformer import HuggingFace

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader

IDS, MASK = "input_ids", "attention_mask"
EXAMPLE_LENGTH = 128
"""Tokens of an example text, where the model has as many positions."""


class HFText(HuggingFace):
    """The shared part of families of text classifiers whose first token is the class token.

    A batch is what a tokenizer returns, padded on the right. Texts run without their padding, and
    texts of one length run together, so that each is reduced by the schedule for its length.
    """

    text_inputs: ClassVar[tuple[str, ...]] = (IDS, MASK)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.num_prefix = 1
        self.has_class_token = True
        self.head_reads_prefix_only = True
        positions = self.base.embeddings.position_embeddings.num_embeddings
        padding = getattr(self.base.embeddings, "padding_idx", None)
        # where there is such an index (RoBERTa), the position of the first token is the next one
        self.image_size = (1, positions if padding is None else positions - padding - 1)

    @classmethod
    def settings_refusal(cls, model: Any, config: Any) -> str | None:
        """Return which setting is not supported."""
        if getattr(config, "add_cross_attention", False):
            return "cross attention (add_cross_attention) is not supported"
        if getattr(config, "chunk_size_feed_forward", 0):
            return "feed-forward in chunks (chunk_size_feed_forward > 0) is not supported"
        return super().settings_refusal(model, config)

    def plain(self, inputs: Inputs) -> Tensor:
        """Return the logits (B, K) of the model's own forward pass, on the padded batch."""
        return cast(Tensor, self.model(**self._tensors_by_name(inputs), return_dict=True).logits)

    def example(self, batch: int) -> dict[str, Tensor]:
        """Return random token ids (B, 128), as many as the model has positions for."""
        weight = self.base.embeddings.word_embeddings.weight
        shape = (batch, min(EXAMPLE_LENGTH, self.image_size[1]))
        if weight.is_meta:  # a mask without values could not be read
            return {IDS: torch.zeros(shape, dtype=torch.int64, device="meta")}
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(len(weight), shape, generator=generator).to(weight.device)
        return {IDS: ids, MASK: torch.ones_like(ids)}

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block, for texts without padding."""
        tensors = self._tensors_by_name(inputs)
        tensors.pop(MASK, None)  # `parts` has taken the padding off, so the mask is all ones
        return cast(Tensor, self.base.embeddings(**tensors))

    def input_size(self, inputs: Inputs) -> tuple[int, int]:
        """Return (1, tokens of a text); KeeprateError for more than there are positions."""
        length, most = self._tensors_by_name(inputs)[IDS].shape[1], self.image_size[1]
        if length > most:
            raise KeeprateError(
                f"A text of {length} tokens is longer than the {most} positions of this "
                f"{type(self.model).__name__}: let the tokenizer truncate it."
            )
        return 1, length

    def parts(self, inputs: Inputs) -> Sequence[tuple[Tensor, Inputs]]:
        """Split a padded batch into texts of one length each, without their padding.

        Raises KeeprateError for padding on the left or between tokens.
        """
        tensors = self._tensors_by_name(inputs)
        _refuse_misshapen(tensors)
        mask = tensors.pop(MASK, None)
        if mask is None or mask.is_meta:  # no padding, or no values to find it by
            return []
        lengths = _lengths(mask).cpu()  # copied once, not once per length below
        if bool((lengths == mask.shape[1]).all()):
            return []
        parts = []
        for length in sorted(set(lengths.tolist())):
            rows = (lengths == length).nonzero().flatten()
            texts = {name: t[rows.to(t.device), :length] for name, t in tensors.items()}
            parts.append((rows, texts))
        return parts

    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return how many tokens a text of size (1, tokens) has besides the class token."""
        return image_size[1] - self.num_prefix

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the multiply-accumulates of `embed`: none, since tokens are looked up."""
        return 0

    def head_cost(self) -> HeadCost:
        """Return what pooler and classifier cost, both of which see the class token alone."""
        pooler = getattr(self.base, "pooler", None)
        pooling = 0 if pooler is None else linear_macs(pooler)
        return HeadCost(self.classifier_macs() + pooling)

    def _tensors_by_name(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the inputs by name; KeeprateError for names that the model does not read."""
        if isinstance(inputs, Tensor):
            return {IDS: inputs}
        tensors = {name: value for name, value in inputs.items() if value is not None}
        unknown = sorted(tensors.keys() - set(self.text_inputs))
        if unknown or IDS not in tensors:
            raise KeeprateError(
                f"A {type(self.model).__name__} is reduced on {', '.join(self.text_inputs)}, "
                f"not on {', '.join(unknown) or 'inputs without ' + IDS}."
            )
        return tensors


class HFBert(HFText):
    """BERT, RoBERTa, ELECTRA and other text classifiers of transformers built of BERT's blocks."""

    name: ClassVar[str] = "hf-bert"
    layouts = BERT
    text_inputs = (IDS, MASK, "token_type_ids")
    sizes = ("num_attention_heads", "attention_head_size")

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block, for texts without padding."""
        x = super().embed(inputs)
        project = getattr(self.base, "embeddings_project", None)
        return x if project is None else cast(Tensor, project(x))

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with the residual and the norm after it."""
        b = self.blocks[block]
        with reader.around(tokens.x, b.attention):
            return cast(Tensor, b.attention(tokens.x)[0])

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with the residual and the norm after it."""
        b = self.blocks[block]
        return cast(Tensor, b.output(b.intermediate(x), x))

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K) from the class token."""
        pooler = getattr(self.base, "pooler", None)
        if pooler is None:
            return cast(Tensor, self.model.classifier(tokens.x))  # it takes the first token itself
        return cast(Tensor, self.model.classifier(self.model.dropout(pooler(tokens.x))))

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return what the projection after ELECTRA's narrower embeddings costs, if there is one."""
        project = getattr(self.base, "embeddings_project", None)
        return 0 if project is None else image_size[1] * linear_macs(project)


class HFDistilBert(HFText):
    """DistilBERT of transformers with its text classifier."""

    name: ClassVar[str] = "hf-distilbert"
    layouts = DISTILBERT
    sizes = ("n_heads", "attention_head_size")

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with the residual and the norm after it."""
        b, x = self.blocks[block], tokens.x
        with reader.around(x, b.attention):
            attended, _ = b.attention(x)
        return cast(Tensor, b.sa_layer_norm(attended + x))

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with the residual and the norm after it."""
        b = self.blocks[block]
        return cast(Tensor, b.output_layer_norm(b.ffn(x) + x))

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K) from the class token."""
        pooled = relu(self.model.pre_classifier(tokens.x[:, 0]))
        return cast(Tensor, self.model.classifier(self.model.dropout(pooled)))


def _refuse_misshapen(tensors: Mapping[str, Tensor]) -> None:
    """Raise KeeprateError unless all inputs have the shape (texts, tokens) of the token ids."""
    ids = tuple(tensors[IDS].shape)
    for name, tensor in tensors.items():
        if len(ids) != 2 or tuple(tensor.shape) != ids:
            raise KeeprateError(
                f"{name} has the shape {tuple(tensor.shape)} beside {IDS} of {ids}: each must be "
                "(texts, tokens)."
            )


def _lengths(mask: Tensor) -> Tensor:
    """Return how many tokens (B,) each text has by its mask (B, N).

    Raises KeeprateError unless the mask is ones from the first token on, then zeros.
    """
    if mask.dim() != 2 or not bool(((mask == 0) | (mask == 1)).all()):
        raise KeeprateError(f"{MASK} must be zeros and ones, one for each token of each text.")
    real = mask.bool()
    if not bool(real[:, 0].all()):
        raise KeeprateError(
            f"{MASK} masks the first token of a text, where the class token is: pad on the right, "
            'tokenizer.padding_side = "right".'
        )
    lengths = real.sum(dim=1)
    # the product of a row drops to 0 at the first masked token: it counts the leading ones
    if not bool((real.cumprod(dim=1).sum(dim=1) == lengths).all()):
        raise KeeprateError(f"{MASK} masks tokens between others: only padding may be masked.")
    return lengths
