"""Build small models of transformers' families, with random weights, to prove the families on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import nn

Examples = Mapping[str, Callable[[], nn.Module]]
Settings = Mapping[str, object]

_WIDTH = {"hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 3, "num_labels": 7}
_IMAGE = {"image_size": 32, "patch_size": 8, "num_labels": 7}
_VISION = {**_WIDTH, **_IMAGE, "intermediate_size": 96}
_TEXT = {**_WIDTH, "intermediate_size": 96, "vocab_size": 99, "max_position_embeddings": 40}
_DISTIL = {"dim": 48, "n_layers": 4, "n_heads": 3, "hidden_dim": 96, "num_labels": 7}
# the text tower is not built, but its configuration is needed: its default ids lie outside its
# default vocabulary
_UNREAD = {"bos_token_id": 1, "eos_token_id": 2}
_TOWER = {key: value for key, value in _VISION.items() if key != "num_labels"}

_FAMILIES: Mapping[str, Mapping[str, tuple[str, Settings]]] = {
    "hf-vit": {
        "ViT": ("ViT", _VISION),
        "DeiT": ("DeiT", _VISION),
        "DeiT with a teacher": ("DeiT WithTeacher", _VISION),
    },
    "hf-dinov2": {
        "DINOv2": ("Dinov2", _VISION),
        "DINOv2, gated MLP": ("Dinov2", {**_VISION, "use_swiglu_ffn": True}),
        "DINOv2 with registers": ("Dinov2WithRegisters", _VISION),
    },
    "hf-dinov3": {
        "DINOv3": ("DINOv3ViT Model", {**_VISION, "num_register_tokens": 2}),
        "DINOv3, gated MLP, no registers": (
            "DINOv3ViT Model",
            {**_VISION, "num_register_tokens": 0, "use_gated_mlp": True},
        ),
    },
    "hf-beit": {
        "BEiT": ("Beit", {**_VISION, "use_relative_position_bias": True}),
        "BEiT, shared table, class token": (
            "Beit",
            {**_VISION, "use_shared_relative_position_bias": True, "use_mean_pooling": False},
        ),
        "BEiT, both tables, positions": (
            "Beit",
            {
                **_VISION,
                "use_relative_position_bias": True,
                "use_shared_relative_position_bias": True,
                "use_absolute_position_embeddings": True,
                "layer_scale_init_value": 0.0,
            },
        ),
    },
    "hf-siglip": {
        "SigLIP": (
            "Siglip",
            {"vision_config": _TOWER, "text_config": _UNREAD, "num_labels": 7},
        ),
        "SigLIP without its own pooling": (
            "Siglip",
            {
                "vision_config": {**_TOWER, "vision_use_head": False},
                "text_config": _UNREAD,
                "num_labels": 7,
            },
        ),
    },
    "hf-bert": {
        "BERT": ("Bert", _TEXT),
        "RoBERTa": ("Roberta", _TEXT),
        "XLM-RoBERTa": ("XLMRoberta", _TEXT),
        "CamemBERT": ("Camembert", _TEXT),
        "data2vec": ("Data2VecText", _TEXT),
        "ERNIE": ("Ernie", {**_TEXT, "use_task_id": True}),
        "ELECTRA": ("Electra", {**_TEXT, "embedding_size": 32}),
    },
    "hf-distilbert": {
        "DistilBERT": ("DistilBert", {**_DISTIL, "vocab_size": 99, "max_position_embeddings": 40}),
    },
}


def examples_of(family: str) -> Examples:
    """Return how to build small models of a family, by name; none without transformers."""
    if find_spec("transformers") is None:
        return {}
    models = _FAMILIES[family]
    return {name: partial(build, model, settings) for name, (model, settings) in models.items()}


def build(model: str, settings: Settings) -> nn.Module:
    """Build the classifier of a model such as "DeiT" or "DeiT WithTeacher" for its settings.

    "DINOv3ViT Model" is the model itself, which has no classifier.
    """
    # imported late: the families must load where transformers is not installed
    transformers: Any = import_module("transformers")
    prefix, _, suffix = model.partition(" ")
    config = getattr(transformers, f"{prefix}Config")(**settings)
    task = "ForSequenceClassification" if "vocab_size" in settings else "ForImageClassification"
    task = "" if suffix == "Model" else task
    classifier: nn.Module = getattr(transformers, f"{prefix}{task}{suffix}")(config)
    return classifier.eval()
