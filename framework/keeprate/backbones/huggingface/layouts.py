"""The parts of transformers' classifiers by name, as they are in the versions tested."""

# names alone, so that no model of transformers is imported to look one up

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Parts = Mapping[str, tuple[str, ...]]
"""The children of a module, with the class names that each may have; "" says it may be missing."""

NORM, DROPOUT, HEAD = ("LayerNorm",), ("Dropout",), ("Linear", "Identity")


@dataclass(frozen=True)
class ClassifierLayout:
    """The classes of the parts of one classifier class, down to the parts of each block.

    `base` is the attribute of the model inside the classifier ("" where there is none), `blocks`
    the path to its blocks from there. Class names belong to the module that defines the
    classifier, or to torch.
    """

    base: str
    blocks: str
    model_parts: Parts
    base_parts: Parts
    block: str
    block_parts: Parts


def full(package: str, name: str, file: str | None = None) -> str:
    """Return the full name of a class of transformers."""
    return f"transformers.models.{package}.modeling_{file or package}.{name}"


def _vit(name: str, base: str, heads: tuple[str, ...]) -> ClassifierLayout:
    return ClassifierLayout(
        base=base,
        blocks="layers",
        model_parts={base: (f"{name}Model",), **dict.fromkeys(heads, HEAD)},
        base_parts={"embeddings": (f"{name}Embeddings",), "layers": LIST, "layernorm": NORM},
        block=f"{name}Layer",
        block_parts={
            "attention": (f"{name}Attention",),
            "layernorm_before": NORM,
            "layernorm_after": NORM,
            "mlp": (f"{name}MLP",),
            "dropout": DROPOUT,
        },
    )


def _dinov2(name: str, base: str) -> ClassifierLayout:
    scale = (f"{name}LayerScale",)
    return ClassifierLayout(
        base=base,
        blocks="encoder.layer",
        model_parts={base: (f"{name}Model",), "classifier": HEAD},
        base_parts={
            "embeddings": (f"{name}Embeddings",),
            "encoder": (f"{name}Encoder",),
            "layernorm": NORM,
        },
        block=f"{name}Layer",
        block_parts={
            "norm1": NORM,
            "attention": (f"{name}Attention",),
            "layer_scale1": scale,
            "drop_path": ("Identity", f"{name}DropPath"),
            "norm2": NORM,
            "mlp": (f"{name}MLP", f"{name}SwiGLUFFN"),
            "layer_scale2": scale,
        },
    )


def _dinov3() -> ClassifierLayout:
    scale = ("DINOv3ViTLayerScale",)
    parts = {
        "embeddings": ("DINOv3ViTEmbeddings",),
        "rope_embeddings": ("DINOv3ViTRopePositionEmbedding",),
        "model": ("DINOv3ViTEncoder",),
        "norm": NORM,
    }
    return ClassifierLayout(
        base="",  # it has no classifier: the model is its own base
        blocks="model.layer",
        model_parts=parts,
        base_parts=parts,
        block="DINOv3ViTLayer",
        block_parts={
            "norm1": NORM,
            "attention": ("DINOv3ViTAttention",),
            "layer_scale1": scale,
            "drop_path": ("Identity", "Dinov3ViTDropPath"),
            "norm2": NORM,
            "mlp": ("DINOv3ViTMLP", "DINOv3ViTGatedMLP"),
            "layer_scale2": scale,
        },
    )


def _beit() -> ClassifierLayout:
    table = ("BeitRelativePositionBias", "")
    return ClassifierLayout(
        base="beit",
        blocks="layers",
        model_parts={"beit": ("BeitModel",), "classifier": HEAD},
        base_parts={
            "embeddings": ("BeitEmbeddings",),
            "shared_position_bias": table,
            "layers": LIST,
            "layernorm": ("LayerNorm", "Identity"),
            "pooler": ("BeitPooler",),
        },
        block="BeitLayer",
        block_parts={
            "attention": ("BeitAttention",),
            "layernorm_before": NORM,
            "layernorm_after": NORM,
            "mlp": ("BeitMLP",),
            "dropout": DROPOUT,
            "drop_path": ("Identity", "BeitDropPath"),
            "relative_position_bias": table,
        },
    )


def _siglip() -> ClassifierLayout:
    return ClassifierLayout(
        base="vision_model",
        blocks="encoder.layers",
        model_parts={"vision_model": ("SiglipVisionModel",), "classifier": HEAD},
        base_parts={
            "embeddings": ("SiglipVisionEmbeddings",),
            "encoder": ("SiglipEncoder",),
            "post_layernorm": NORM,
            "head": ("SiglipMultiheadAttentionPoolingHead", ""),
        },
        block="SiglipEncoderLayer",
        block_parts={
            "layer_norm1": NORM,
            "self_attn": ("SiglipAttention",),
            "layer_norm2": NORM,
            "mlp": ("SiglipMLP",),
        },
    )


def _bert(name: str, base: str, head: Parts, base_parts: Parts) -> ClassifierLayout:
    return ClassifierLayout(
        base=base,
        blocks="encoder.layer",
        model_parts={base: (f"{name}Model",), **head},
        base_parts={
            "embeddings": (f"{name}Embeddings",),
            "encoder": (f"{name}Encoder",),
            **base_parts,
        },
        block=f"{name}Layer",
        block_parts={
            "attention": (f"{name}Attention",),
            "intermediate": (f"{name}Intermediate",),
            "output": (f"{name}Output",),
        },
    )


def _bert_with_pooler(name: str, base: str) -> ClassifierLayout:
    """Return the layout of BERT: a pooler inside the model, dropout and a linear classifier."""
    head = {"dropout": DROPOUT, "classifier": HEAD}
    return _bert(name, base, head, {"pooler": (f"{name}Pooler",)})


def _bert_with_head(name: str, base: str, base_parts: Parts | None = None) -> ClassifierLayout:
    """Return the layout of RoBERTa: no pooler, and a classifier of two linear layers."""
    return _bert(name, base, {"classifier": (f"{name}ClassificationHead",)}, base_parts or {})


def _distilbert() -> ClassifierLayout:
    return ClassifierLayout(
        base="distilbert",
        blocks="transformer.layer",
        model_parts={
            "distilbert": ("DistilBertModel",),
            "pre_classifier": HEAD,
            "classifier": HEAD,
            "dropout": DROPOUT,
        },
        base_parts={"embeddings": ("Embeddings",), "transformer": ("Transformer",)},
        block="TransformerBlock",
        block_parts={
            "attention": ("DistilBertSelfAttention",),
            "sa_layer_norm": NORM,
            "ffn": ("FFN",),
            "output_layer_norm": NORM,
        },
    )


LIST = ("ModuleList",)
_IMAGES, _TEXTS = "ForImageClassification", "ForSequenceClassification"
_TEACHER = ("cls_classifier", "distillation_classifier")
_PROJECT = {"embeddings_project": ("Linear", "")}

VIT: Mapping[str, ClassifierLayout] = {
    full("vit", f"ViT{_IMAGES}"): _vit("ViT", "vit", ("classifier",)),
    full("deit", f"DeiT{_IMAGES}"): _vit("DeiT", "deit", ("classifier",)),
    full("deit", f"DeiT{_IMAGES}WithTeacher"): _vit("DeiT", "deit", _TEACHER),
}
DINOV2: Mapping[str, ClassifierLayout] = {
    full("dinov2", f"Dinov2{_IMAGES}"): _dinov2("Dinov2", "dinov2"),
    full("dinov2_with_registers", f"Dinov2WithRegisters{_IMAGES}"): _dinov2(
        "Dinov2WithRegisters", "dinov2_with_registers"
    ),
}
DINOV3: Mapping[str, ClassifierLayout] = {full("dinov3_vit", "DINOv3ViTModel"): _dinov3()}
BEIT: Mapping[str, ClassifierLayout] = {full("beit", f"Beit{_IMAGES}"): _beit()}
SIGLIP: Mapping[str, ClassifierLayout] = {full("siglip", f"Siglip{_IMAGES}"): _siglip()}
BERT: Mapping[str, ClassifierLayout] = {
    full("bert", f"Bert{_TEXTS}"): _bert_with_pooler("Bert", "bert"),
    full("ernie", f"Ernie{_TEXTS}"): _bert_with_pooler("Ernie", "ernie"),
    full("roberta", f"Roberta{_TEXTS}"): _bert_with_head("Roberta", "roberta"),
    full("xlm_roberta", f"XLMRoberta{_TEXTS}"): _bert_with_head("XLMRoberta", "roberta"),
    full("camembert", f"Camembert{_TEXTS}"): _bert_with_head("Camembert", "roberta"),
    full("data2vec", f"Data2VecText{_TEXTS}", "data2vec_text"): _bert_with_head(
        "Data2VecText", "data2vec_text"
    ),
    full("electra", f"Electra{_TEXTS}"): _bert_with_head("Electra", "electra", _PROJECT),
}
DISTILBERT: Mapping[str, ClassifierLayout] = {
    full("distilbert", f"DistilBert{_TEXTS}"): _distilbert()
}
