"""A model that cannot be reduced is refused with the reason of its family."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from keeprate import KeeprateError
from keeprate.backbones.lookup import adapt
from keeprate.backbones.refusals import FAMILIES, known_refusal

pytestmark = pytest.mark.sample(2)

SMALL = {
    "ByobNets (MobileViT, BoTNet, HaloNet, RepVGG and others)": "mobilevitv2_050",
    "CPUBones": "cpubone_nano",
    "CSATs": "csatv2",
    "CaiTs": "cait_xxs24_224",
    "CoaTs": "coat_tiny",
    "ConViTs": "convit_tiny",
    "Convolutional networks": "resnet18",
    "CrossViTs": "crossvit_tiny_240",
    "DaViTs": "davit_tiny",
    "DeepSeek's vision encoders": "deepseek_vit_412m",
    "EdgeNeXts": "edgenext_xx_small",
    "EfficientFormers": "efficientformer_l1",
    "EfficientViMs": "efficientvim_m1",
    "EfficientViTs": "efficientvit_m0",
    "FastViTs": "fastvit_t8",
    "FocalNets": "focalnet_tiny_srf",
    "GC ViTs": "gcvit_xxtiny",
    "Gemma 4's vision encoders": "gemma4_vit_167m",
    "Hieras": "hiera_tiny_224",
    "LeViTs": "levit_128s",
    "LowFormers": "lowformer_b0",
    "MLP-Mixers": "mixer_s32_224",
    "MViTs": "mvitv2_tiny",
    "MambaOuts": "mambaout_femto",
    "MaxViTs and CoAtNets": "coatnet_nano_rw_224",
    "MetaFormers (PoolFormer, CAFormer)": "poolformer_s12",
    "MobileNets V5": "mobilenetv5_base",
    "NesTs": "nest_tiny",
    "Next-ViTs": "nextvit_small",
    "PVTs": "pvt_v2_b0",
    "Qwen3's vision encoders": "qwen3_vit_88m",
    "SAM 2's image encoders": "sam2_hiera_tiny",
    "SAM's image encoders": "samvit_base_patch16_224",
    "SHViTs": "shvit_s1",
    "Sequencers": "sequencer2d_s",
    "SwiftFormers": "swiftformer_xs",
    "Swin Transformers": "swin_tiny_patch4_window7_224",
    "Swin Transformers V2": "swinv2_cr_tiny_224",
    "TNTs": "tnt_s_legacy_patch16_224",
    "TinyViTs": "tiny_vit_5m_224",
    "Twins models": "twins_svt_small",
    "Visformers": "visformer_tiny",
    "XCiTs": "xcit_nano_12_p16_224",
    "iFormers": "iformer_t",
}
HUGGINGFACE = {"CvTs": "Cvt", "MobileViTs": "MobileViT"}


def shapes(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name)


def refusal(model: nn.Module) -> str:
    with pytest.raises(KeeprateError) as refused:
        adapt(model)
    return str(refused.value)


def test_every_family_is_tried() -> None:
    assert {family.names for family in FAMILIES} == SMALL.keys() | HUGGINGFACE.keys()


@pytest.mark.parametrize(("names", "model"), SMALL.items(), ids=SMALL.values())
def test_a_model_is_refused_by_its_family_s_name_and_reason(names: str, model: str) -> None:
    if not timm.is_model(model):
        pytest.skip(f"this timm has no {model}")
    [why] = [family.why for family in FAMILIES if family.names == names]
    assert f": {names} {why}. Another family can be added with" in refusal(shapes(model))


@pytest.mark.parametrize(("names", "model"), [*HUGGINGFACE.items(), ("Swin Transformers", "Swin")])
def test_models_of_hugging_face_are_refused_alike(names: str, model: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{model}Config")()
    with torch.device("meta"):
        found = getattr(transformers, f"{model}ForImageClassification")(config)
    assert f": {names} " in refusal(found)


def test_the_whole_message() -> None:
    assert refusal(shapes("swin_tiny_patch4_window7_224")) == (
        "Cannot reduce a model of class timm.models.swin_transformer.SwinTransformer: Swin "
        "Transformers attend within shifted windows of a grid, which dropping tokens would break. "
        "Another family can be added with the keeprate_backbones hook."
    )


def test_a_subclass_is_refused_for_its_family_s_reason() -> None:
    class MySwin(SwinTransformer):
        pass

    with torch.device("meta"):
        model = MySwin(img_size=56, embed_dim=24, depths=(1, 1), num_heads=(1, 2), window_size=7)
    assert "MySwin: Swin Transformers attend within" in refusal(model)


def test_torchvision_s_models_are_refused_alike() -> None:
    with torch.device("meta"):
        swin, resnet = torchvision.models.swin_t(), torchvision.models.resnet18()
    assert "SwinTransformer: Swin Transformers attend within shifted windows" in refusal(swin)
    assert "ResNet: Convolutional networks have no tokens to reduce." in refusal(resnet)


def test_models_of_other_libraries_are_not_guessed_at_by_the_name_of_their_file() -> None:
    model = type("Mine", (nn.Module,), {"__module__": "mine.resnet"})()
    assert known_refusal(model) == ""
    assert "mine.resnet.Mine: it belongs to none of the known families" in refusal(model)


def outcome(name: str) -> str:
    try:
        return adapt(shapes(name)).name
    except KeeprateError as refused:
        return str(refused)


@pytest.mark.slow
@pytest.mark.parametrize("module", timm.list_modules())
def test_every_module_of_timm_is_run_or_refused_for_a_reason_of_its_own(module: str) -> None:
    names = timm.list_models(module=module)
    for name in {*names[:1], *names[-1:]}:
        assert "none of the known families" not in outcome(name)
