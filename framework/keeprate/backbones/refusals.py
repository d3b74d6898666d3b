"""The reasons why well-known families of models cannot be reduced, family by family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

# other packages may use the same module names for models that could be run
_PACKAGES = ("timm", "torchvision", "transformers")

_WINDOWS = "attend within windows of a grid, which dropping tokens would break"
_SHIFTED = "attend within shifted windows of a grid, which dropping tokens would break"
_CONVOLVE = "convolve the whole grid of tokens in their blocks, which dropping tokens would break"
_SHRINK = "shrink the whole grid of tokens along the way, which dropping tokens would break"
_NO_ATTENTION = "have no attention between tokens for a method to read"
_POSITIONS = "bring positions of their own into every block, which no backbone here follows yet"


@dataclass(frozen=True)
class Family:
    """Models of one kind: their `names` in the plural, and `why` they are refused.

    `modules` are the last parts of the names of the Python modules that define such models.
    """

    names: str
    why: str
    modules: tuple[str, ...]


_CONVOLUTIONAL = (
    "alexnet convmixer convnext convnextv2 cspnet cspnext densenet dla dpn efficientnet fasternet "
    "ghostnet googlenet hgnet hrnet inception inception_next inception_resnet_v2 inception_v3 "
    "inception_v4 lcnetv2 mnasnet mobilenet mobilenet_v1 mobilenet_v2 mobilenetv2 mobilenetv3 "
    "nasnet nfnet pnasnet rdnet regnet repghost repvit resnet resnetv2 rexnet selecsls senet "
    "shufflenetv2 squeezenet starnet tresnet vgg vovnet xception xception_aligned"
)
FAMILIES = (
    Family("Swin Transformers", _SHIFTED, ("swin", "swin_transformer")),
    Family(
        "Swin Transformers V2",
        _SHIFTED,
        ("swinv2", "swin_transformer_v2", "swin_transformer_v2_cr"),
    ),
    Family("SAM's image encoders", _WINDOWS, ("vision_transformer_sam", "sam")),
    Family("SAM 2's image encoders", _WINDOWS, ("hieradet_sam2",)),
    Family("GC ViTs", _WINDOWS, ("gcvit",)),
    Family("DaViTs", "attend within windows of a grid and between channels in turn", ("davit",)),
    Family("TinyViTs", _WINDOWS, ("tiny_vit",)),
    Family("Hieras", "attend within units of a grid, and pool these between stages", ("hiera",)),
    Family("NesTs", "attend within parts of a grid, and join these between levels", ("nest",)),
    Family("MViTs", _SHRINK, ("mvit", "mvitv2")),
    Family("PVTs", _SHRINK, ("pvt", "pvt_v2")),
    Family("Twins models", _SHRINK, ("twins",)),
    Family("LeViTs", _SHRINK, ("levit",)),
    Family("Next-ViTs", _SHRINK, ("nextvit",)),
    Family("MaxViTs and CoAtNets", _CONVOLVE, ("maxvit", "maxxvit")),
    Family("Visformers", _CONVOLVE, ("visformer",)),
    Family("EfficientFormers", _CONVOLVE, ("efficientformer", "efficientformer_v2")),
    Family("EdgeNeXts", _CONVOLVE, ("edgenext",)),
    Family("EfficientViTs", _CONVOLVE, ("efficientvit_mit", "efficientvit_msra")),
    Family("FastViTs", _CONVOLVE, ("fastvit",)),
    Family("iFormers", _CONVOLVE, ("iformer",)),
    Family("LowFormers", _CONVOLVE, ("lowformer",)),
    Family("CPUBones", _CONVOLVE, ("cpubone",)),
    Family("SHViTs", _CONVOLVE, ("shvit",)),
    Family("SwiftFormers", _CONVOLVE, ("swiftformer",)),
    Family("CSATs", _CONVOLVE, ("csatv2",)),
    Family("MobileNets V5", _CONVOLVE, ("mobilenetv5",)),
    Family("MobileViTs", _CONVOLVE, ("mobilevit", "mobilevitv2")),
    Family("ByobNets (MobileViT, BoTNet, HaloNet, RepVGG and others)", _CONVOLVE, ("byobnet",)),
    Family("CvTs", _CONVOLVE, ("cvt",)),
    Family("CoaTs", _CONVOLVE, ("coat",)),
    Family(
        "MetaFormers (PoolFormer, CAFormer)",
        "pool or convolve the whole grid of tokens, which dropping tokens would break",
        ("metaformer", "poolformer"),
    ),
    Family(
        "XCiTs",
        "attend between channels, not tokens, and convolve the whole grid in every block",
        ("xcit",),
    ),
    Family(
        "CaiTs",
        "mix attention weights across heads (talking heads), so that no fused attention call is "
        "there to read",
        ("cait",),
    ),
    Family(
        "ConViTs",
        "mix attention with the places of a whole grid, outside any fused attention call",
        ("convit",),
    ),
    Family(
        "CrossViTs",
        "run two sequences of tokens side by side, which exchange their class tokens",
        ("crossvit",),
    ),
    Family("TNTs", "carry pixel tokens beside every patch token through all blocks", ("tnt",)),
    Family("MLP-Mixers", f"{_NO_ATTENTION}, and need a fixed number of them", ("mlp_mixer",)),
    Family("Sequencers", _NO_ATTENTION, ("sequencer",)),
    Family("FocalNets", _NO_ATTENTION, ("focalnet",)),
    Family("EfficientViMs", _NO_ATTENTION, ("efficientvim",)),
    Family("MambaOuts", _NO_ATTENTION, ("mambaout",)),
    Family("DeepSeek's vision encoders", _POSITIONS, ("deepseek_vit",)),
    Family("Gemma 4's vision encoders", _POSITIONS, ("gemma4_vit",)),
    Family("Qwen3's vision encoders", _POSITIONS, ("qwen3_vit",)),
    Family("Convolutional networks", "have no tokens to reduce", tuple(_CONVOLUTIONAL.split())),
)
_BY_MODULE = {module: family for family in FAMILIES for module in family.modules}


def known_refusal(model: nn.Module) -> str:
    """Return why models of this family cannot be reduced, "" where the family is not known.

    A model belongs to the family of any class that its own class derives from.
    """
    for cls in type(model).__mro__:
        names = cls.__module__.split(".")
        # transformers calls its modules modeling_swin, where timm has swin_transformer
        family = _BY_MODULE.get(names[-1].removeprefix("modeling_"))
        if family is not None and names[0] in _PACKAGES:
            return f"{family.names} {family.why}"
    return ""
