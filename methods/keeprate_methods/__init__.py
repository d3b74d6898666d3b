"""The methods that ship with keeprate, and studies of them; a third-party plugin looks the same."""

from __future__ import annotations

from pathlib import Path

from keeprate import Method, hookimpl


@hookimpl
def keeprate_methods() -> list[type[Method]]:
    """Offer the built-in methods."""
    from .atc import ATC
    from .ats import ATS
    from .attention_score import AttentionScore
    from .class_attention import ClassAttention
    from .dct import DCT
    from .diffrate import DiffRate
    from .downsample import Downsample
    from .dpc_knn import DPCKNN
    from .dtem import DTEM
    from .dynamicvit import DynamicViT
    from .evit import EViT
    from .fixed import Fixed
    from .frequency import Frequency
    from .full import Full
    from .gtp import GTP
    from .k_medoids import KMedoids
    from .ltmp import LTMP
    from .mctf import MCTF
    from .norm import Norm
    from .patch_merger import PatchMerger
    from .patch_size import PatchSize
    from .pitome import PiToMe
    from .random_drop import RandomDrop
    from .sinkhorn import Sinkhorn
    from .sit import SiT
    from .tofu import ToFu
    from .tome import ToMe
    from .zero_tprune import ZeroTPrune

    first: list[type[Method]] = [Full, RandomDrop, AttentionScore, ClassAttention, ToMe, ZeroTPrune]
    merging: list[type[Method]] = [ToFu, PiToMe, MCTF, DiffRate, GTP, ATC, DPCKNN, LTMP]
    others: list[type[Method]] = [Norm, Fixed, DCT, EViT, Frequency, ATS, KMedoids, *merging]
    trained: list[type[Method]] = [DynamicViT, SiT, PatchMerger, Sinkhorn, DTEM]
    return [*first, *others, *trained, Downsample, PatchSize]


@hookimpl
def keeprate_studies() -> list[Path]:
    """Offer the paper's ablations and comparison, convergence, and the reduction of texts."""
    return sorted((Path(__file__).parent / "studies").glob("*.yaml"))
