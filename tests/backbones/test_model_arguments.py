"""Arguments and heads after a model's name; the files of MAE, DeiT-III, DINOv2 and CLIP."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import keeprate
from battery import randomised
from keeprate import KeeprateError, Needs, Place, Tokens
from keeprate.backbones.loading.load import load_model, outline
from keeprate.backbones.loading.structure_hash import structure_sha256
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof

SIZES = {"depth": 3, "embed_dim": 24, "num_heads": 3}
TINY = ",".join(f"{name}={value}" for name, value in SIZES.items())
IMAGES = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def built(name: str, **options: Any) -> nn.Module:
    return randomised(timm.create_model(name, **SIZES, **options)).eval()


def refusal(name: str, **arguments: Any) -> str:
    with pytest.raises(KeeprateError) as raised:
        outline(name, **arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def written(folder: Path, state: dict[str, Tensor], file: str = "official.pth") -> Path:
    """A file as training scripts write it: under "model", with the prefix of DataParallel."""
    torch.save(
        {"model": {f"module.{name}": tensor for name, tensor in state.items()}}, folder / file
    )
    return folder / file


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "globl_pool=avg",
            "No argument 'globl_pool' of model 'vit_tiny_patch16_224'. Did you mean",
        ),
        ("global_pool=avgg", "global_pool must be one of "),
        ("depth=two", "Model 'vit_tiny_patch16_224': depth must be an int, not 'two'."),
        ("img_size=384", "img_size is the size of images: give it as --image-size PIXELS."),
        ("num_classes=3", "num_classes is read from the weights: leave it out."),
        ("depth=1,depth=2", "Parameter 'depth' is given twice"),
        ("num_heads=5", "Cannot create the model 'vit_tiny_patch16_224:num_heads=5'"),
        ("act_layer=geluu", "Cannot create the model 'vit_tiny_patch16_224:act_layer=geluu'"),
        ("avg", "Arguments follow as vit_tiny_patch16_224:ARGUMENT=VALUE."),
    ],
)
def test_unfit_arguments_are_told_without_any_weights(arguments: str, said: str) -> None:
    assert said in refusal(f"vit_tiny_patch16_224:{arguments}")


def test_arguments_are_a_part_of_the_name_in_one_order_and_of_the_structure() -> None:
    """A run's id counts the structure; tables show the name."""
    texts = "global_pool=avg,depth=1", "depth=1, global_pool=avg", "depth=1"
    one, same, other = (
        load_model(f"vit_tiny_patch16_224:{text}", pretrained=False) for text in texts
    )
    assert one.name == same.name == "vit_tiny_patch16_224:depth=1,global_pool=avg"
    assert structure_sha256(one.model) == structure_sha256(same.model)
    assert structure_sha256(one.model) != structure_sha256(other.model)
    naflex = load_model("naflexvit_base_patch16_gap:depth=1,global_pool=map", pretrained=False)
    assert len(adapt(naflex.model).blocks) == 1


def test_published_weights_that_arguments_do_not_fit_are_refused_unread() -> None:
    message = refusal("vit_tiny_patch16_224:global_pool=avg")
    assert "do not fit 'vit_tiny_patch16_224:global_pool=avg': 2 missing (fc_norm.bias" in message


def test_maes_fine_tuned_file_fits_with_average_pooling(tmp_path: Path) -> None:
    model = built("vit_base_patch16_224", global_pool="avg", num_classes=7, img_size=48)
    path = written(tmp_path, model.state_dict())
    name = f"vit_base_patch16_224.mae:{TINY},global_pool=avg"
    loaded = load_model(name, weights=path, image_size=48)
    with torch.inference_mode():
        assert torch.equal(loaded.model(IMAGES[..., :48, :48]), model(IMAGES[..., :48, :48]))
    plain = f"vit_base_patch16_224.mae:{TINY}"
    assert "2 missing (norm.bias, norm.weight)" in refusal(plain, weights=path, image_size=(48, 48))


def test_deit_3s_layer_scales_are_found_under_their_own_names(tmp_path: Path) -> None:
    model = built("deit3_base_patch16_224", num_classes=7)
    state = {n.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): t
             for n, t in model.state_dict().items()}  # fmt: skip
    assert "blocks.0.gamma_1" in state
    loaded = load_model(f"deit3_base_patch16_224:{TINY}", weights=written(tmp_path, state))
    assert all(torch.equal(t, loaded.model.state_dict()[n]) for n, t in model.state_dict().items())


def dinov2(folder: Path, registers: int) -> tuple[str, Path, nn.Module]:
    """A name, a file as DINOv2's authors publish them, and timm's model of the same weights."""
    name = "vit_base_patch14_reg4_dinov2" if registers else "vit_base_patch14_dinov2"
    model = built(name, img_size=56)
    state = dict(model.state_dict())
    state["mask_token"] = torch.ones(1, 24)
    if registers:  # theirs adds a position to the class token, which timm has in the token itself
        state["register_tokens"] = state.pop("reg_token")
        position = torch.full((1, 1, 24), 0.25)
        state["cls_token"] = state["cls_token"] - position[:, 0]
        state["pos_embed"] = torch.cat([position, state["pos_embed"]], dim=1)
    torch.save(state, folder / "dinov2_vitb14_pretrain.pth")
    return f"{name}:{TINY}", folder / "dinov2_vitb14_pretrain.pth", model


@pytest.mark.sample(1)
@pytest.mark.parametrize("registers", [0, 4])
def test_dinov2s_file_and_its_linear_head_classify_as_theirs(
    tmp_path: Path, registers: int
) -> None:
    """Their classifier reads the class token beside the mean patch token, after the last norm."""
    name, path, model = dinov2(tmp_path, registers)
    head = randomised(nn.Linear(48, 7))
    torch.save(head.state_dict(), tmp_path / "linear_head.pth")
    asked = f"{name},head={tmp_path / 'linear_head.pth'}"
    loaded = load_model(asked, weights=path, image_size=56)
    with torch.inference_mode():
        x = model.forward_features(IMAGES)
        expected = head(torch.cat([x[:, 0], x[:, 1 + registers :].mean(dim=1)], dim=1))
        torch.testing.assert_close(loaded.model(IMAGES), expected)
    assert loaded.name.endswith(",head=linear_head.pth")
    assert loaded.model.num_classes == 7
    assert loaded.adapted == (
        "Left out of 'dinov2_vitb14_pretrain.pth', since it is beside the model there: mask_token.",
    )
    shapes = outline(asked, weights=path, image_size=(56, 56)).model.state_dict()
    assert {n: t.shape for n, t in shapes.items()} == {
        n: t.shape for n, t in loaded.model.state_dict().items()
    }
    assert_proved(loaded.model)


def assert_proved(model: nn.Module) -> None:
    backbone = adapt(copy.deepcopy(model).double())
    inputs = backbone.example(2)
    assert proof.identity_error(backbone, inputs) == 0
    error = proof.oracle_error(backbone, inputs, "keep=0.5@0,1", Place.AFTER_BLOCK, Needs.WEIGHTS)
    assert error < 1e-9
    shapes = adapt(copy.deepcopy(model).to("meta"))
    images = shapes.example(1)
    assert keeprate.macs(shapes.model) == proof.counted_macs(shapes, shapes.plain, images)


def test_the_joined_head_weighs_merged_tokens_and_leaves_the_class_token(tmp_path: Path) -> None:
    name, path, _ = dinov2(tmp_path, 0)
    save_file(nn.Linear(48, 7).state_dict(), tmp_path / "head.safetensors")
    asked = f"{name},head={tmp_path / 'head.safetensors'}"
    backbone = adapt(load_model(asked, weights=path, image_size=56).model.double())
    x = torch.randn(2, 4, 24, dtype=torch.float64)
    thrice = torch.cat([x, x[:, -1:], x[:, -1:]], dim=1)
    merged = Tokens.of(thrice, num_prefix=1).merge(
        torch.tensor([[4, 5]] * 2), torch.tensor([[3, 3]] * 2)
    )
    with torch.inference_mode():
        expected = backbone.classify(Tokens.of(thrice, num_prefix=1), None)
        torch.testing.assert_close(backbone.classify(merged, None), expected)


def test_heads_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    name, path, _ = dinov2(tmp_path, 0)

    def said(file: str, content: object, argument: str = "head") -> str:
        torch.save(content, tmp_path / file)
        asked = f"{name},{argument}={tmp_path / file}"
        return refusal(asked, weights=path, image_size=(56, 56))

    four = nn.Linear(120, 7).state_dict()
    assert "takes 120 numbers. 'vit_base_patch14_dinov2' gives 24, or 48" in said("four.pth", four)
    assert "is no linear head: it holds a, b" in said(
        "no.pth", {"a": torch.ones(2, 2), "b": torch.ones(1)}
    )
    texts = {"texts": torch.ones(7, 48)}
    assert "have 48 numbers for each class" in said("texts.pth", texts, "text_features")
    asked = f"{name},head=nowhere.pth"
    assert refusal(asked, weights=path, image_size=(56, 56)) == "No weights file 'nowhere.pth'."


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", ["npy", "safetensors"])
def test_features_of_texts_classify_by_their_cosine(tmp_path: Path, kind: str) -> None:
    """With the weights of a CLIP file, whose text tower is left out."""
    model = built("vit_base_patch16_clip_224", num_classes=10, img_size=48)
    model.head.bias.data.zero_()
    texts = torch.randn(7, 10, generator=torch.Generator().manual_seed(1))
    file = tmp_path / f"texts.{kind}"
    if kind == "npy":
        np.save(file, texts.numpy())
    else:
        save_file({"texts": texts}, file)
    path = tmp_path / "clip.safetensors"
    save_file(clip_names(model.state_dict()), path)
    name = f"vit_base_patch16_clip_224.openai:{TINY},text_features={file}"
    loaded = load_model(name, weights=path, image_size=48)
    images = IMAGES[..., :48, :48]
    with torch.inference_mode():
        cosine = F.cosine_similarity(model(images)[:, None], texts[None], dim=-1)
        torch.testing.assert_close(loaded.model(images), 100 * cosine)
    assert loaded.name.endswith(f",text_features=texts.{kind}")
    assert "transformer.resblocks.0.ln_1.weight" in loaded.adapted[0]
    assert_proved(loaded.model)


def clip_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of OpenAI and open_clip for the image tower, with a piece of the text tower."""
    swaps = {"patch_embed.proj": "conv1", "blocks.": "transformer.resblocks.", "norm_pre": "ln_pre",
             "norm1": "ln_1", "norm2": "ln_2", "attn.qkv.": "attn.in_proj_", "mlp.fc1": "mlp.c_fc",
             "attn.proj": "attn.out_proj", "mlp.fc2": "mlp.c_proj"}  # fmt: skip
    theirs: dict[str, Tensor] = {"transformer.resblocks.0.ln_1.weight": torch.ones(10)}
    for name, tensor in state.items():
        for ours, other in swaps.items():
            name = name.replace(ours, other)
        theirs[f"visual.{name}"] = tensor
    theirs["visual.ln_post.weight"] = theirs.pop("visual.norm.weight")
    theirs["visual.ln_post.bias"] = theirs.pop("visual.norm.bias")
    theirs["visual.proj"] = theirs.pop("visual.head.weight").T.contiguous()
    theirs["visual.class_embedding"] = theirs.pop("visual.cls_token")[0, 0]
    theirs["visual.positional_embedding"] = theirs.pop("visual.pos_embed")[0]
    del theirs["visual.head.bias"]
    return theirs
