"""LV-ViT: computed as its paper says, reduced exactly, and loaded from its authors' checkpoints."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner
from torch import nn

import keeprate
from battery import (
    INSIDE,
    assert_equals_oracle,
    assert_half_precision,
    assert_identical,
    assert_macs,
    randomised,
)
from keeprate import KeeprateError, Needs, Place
from keeprate.backbones.loading import timm_names
from keeprate.backbones.loading.load import load_model
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.backbones.lookup import adapt
from keeprate.backbones.lvvit_model import LVViT
from keeprate.cli import keeprate as cli
from references import lvvit as written
from references.uneven import assert_as_if_each_ran_alone

pytestmark = pytest.mark.sample(2)

TINY = {
    "img_size": 24,
    "patch_size": 4,
    "embed_dim": 48,
    "depth": 4,
    "num_heads": 3,
    "num_classes": 7,
    "stem_width": 8,
}
# published, in millions: 224 pixels; "All Tokens Matter", table 2, and the authors' list of models
PARAMETERS = {"lvvit_t": 8.53, "lvvit_s": 26.15, "lvvit_m": 55.83}


def tiny(**options: object) -> nn.Module:
    """An LV-ViT of 36 patches in which every parameter and statistic matters."""
    model = randomised(LVViT(**{**TINY, **options}).eval())
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model


def shapes(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, **options)


@pytest.mark.parametrize("skip_lam", [1.0, 2.0, 3.0])
def test_the_model_computes_what_the_paper_says(skip_lam: float) -> None:
    model = tiny(skip_lam=skip_lam).double()
    images = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    with torch.inference_mode():
        expected = written.logits(model.state_dict(), images, heads=3, skip_lam=skip_lam)
        torch.testing.assert_close(model(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("sides", [(24, 24), (20, 36)], ids=str)
def test_keeping_every_token_is_bit_identical(place: Place, sides: tuple[int, int]) -> None:
    assert_identical(tiny(img_size=sides), place)


@pytest.mark.parametrize("needs", [Needs.KEYS, Needs.WEIGHTS], ids=lambda n: n.name)
@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("sides", [(24, 24), (20, 36)], ids=str)
def test_a_pruned_run_equals_the_masked_model(
    place: Place, needs: Needs, sides: tuple[int, int]
) -> None:
    assert_equals_oracle(tiny(img_size=sides), place, needs)


@pytest.mark.parametrize("place", INSIDE)
@pytest.mark.parametrize("sides", [(24, 24), (20, 36)], ids=str)
def test_macs_equal_the_flop_counter(place: Place, sides: tuple[int, int]) -> None:
    assert_macs(tiny(img_size=sides), place)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_finite(dtype: torch.dtype) -> None:
    assert_half_precision(tiny(), dtype)


@pytest.mark.parametrize("place", Place)
def test_padding_takes_no_part_in_the_maximum(place: Place) -> None:
    model = tiny().double()
    with torch.no_grad():  # so that it would win wherever it took part
        model.get_parameter("aux_head.weight").mul_(10)
    images = torch.randn(4, 3, 24, 24, dtype=torch.float64)
    assert_as_if_each_ran_alone(model, images, place)


@pytest.mark.parametrize("method", ["tome", "zero-tprune"])
@pytest.mark.parametrize("batch", [1, 3])
def test_methods_run(method: str, batch: int) -> None:
    model = tiny()
    reduced = keeprate.reduce(model, method, "r=2")
    images = adapt(model).example(batch)
    with torch.inference_mode():
        logits = reduced(images)
        assert logits.shape == (batch, 7)
        assert bool(logits.isfinite().all())
        assert not torch.allclose(logits, model(images))
    assert reduced.token_counts.tolist() == [[35, 33, 31, 29]] * batch


@pytest.mark.parametrize(("name", "millions"), PARAMETERS.items())
def test_parameters_are_as_many_as_published(name: str, millions: float) -> None:
    count = sum(parameter.numel() for parameter in shapes(name).parameters())
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("name", "pixels", "millions"),
    [("lvvit_s", 384, 26.30), ("lvvit_m", 384, 56.03), ("lvvit_l", 448, 150.47)],
)
def test_larger_images_only_add_positions(name: str, pixels: int, millions: float) -> None:
    model = shapes(name, img_size=pixels)
    assert round(sum(each.numel() for each in model.parameters()) / 1e6, 2) == millions
    assert adapt(model).image_size == (pixels, pixels)


def test_the_small_model_costs_6_551_gmacs_with_its_second_head() -> None:
    model = shapes("lvvit_s")
    assert keeprate.macs(model) == 6_551_485_440
    assert keeprate.macs(model, 448) > 4 * keeprate.macs(model)


def test_it_is_known_to_the_command_line_by_name() -> None:
    arguments = ["macs", "lvvit_s", "--method", "tome", "--budget", "60%"]
    answer = CliRunner().invoke(cli, arguments, prog_name="keeprate")
    assert answer.exit_code == 0
    assert "6551.485" in answer.output


def test_names_are_looked_up_after_the_families_are_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    class Registry:
        @property
        def backbones(self) -> None:
            asked.append(timm.is_model("lvvit_s"))

    monkeypatch.setattr(timm_names, "registry", Registry)
    monkeypatch.setattr(timm, "is_model", lambda name: bool(asked))
    timm_names.check_name("lvvit_s")
    assert asked == [False]


def test_images_are_prepared_as_its_authors_did() -> None:
    spec = ModelInput.of(shapes("lvvit_s"))
    assert (spec.image_size, spec.crop_pct) == ((224, 224), 0.9)
    assert spec.mean == (0.485, 0.456, 0.406)
    assert spec.std == (0.229, 0.224, 0.225)
    assert ModelInput.of(shapes("lvvit_m")).crop_pct == 1.0


OFFICIAL = """
cls_token pos_embed
patch_embed.conv1.weight patch_embed.conv2.weight patch_embed.conv3.weight
patch_embed.bn1 patch_embed.bn2 patch_embed.bn3 patch_embed.proj.weight patch_embed.proj.bias
blocks.0.norm1.weight blocks.0.norm1.bias blocks.0.attn.qkv.weight blocks.0.attn.proj.weight
blocks.0.attn.proj.bias blocks.0.norm2.weight blocks.0.norm2.bias blocks.0.mlp.fc1.weight
blocks.0.mlp.fc1.bias blocks.0.mlp.fc2.weight blocks.0.mlp.fc2.bias
norm.weight norm.bias head.weight head.bias aux_head.weight aux_head.bias
"""
STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_weights_have_the_names_of_the_official_checkpoints() -> None:
    names = set()
    for name in OFFICIAL.split():
        names |= {f"{name}.{each}" for each in STATISTICS} if ".bn" in name else {name}
    ours = {name for name in shapes("lvvit_t").state_dict() if "blocks." not in name}
    ours |= {name for name in shapes("lvvit_t").state_dict() if name.startswith("blocks.0.")}
    assert ours == names


@pytest.fixture(scope="module")
def small() -> nn.Module:
    torch.manual_seed(0)
    return randomised(timm.create_model("lvvit_t", num_classes=7).eval())


@pytest.mark.sample(1)
@pytest.mark.parametrize("wrapper", ["state_dict", "model", None])
def test_a_checkpoint_loads_from_its_wrapper(
    wrapper: str | None, small: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "lvvit_t.pth.tar"
    state = small.state_dict()
    whole = {wrapper: state, "epoch": 299, "args": Namespace(lr=1e-3)} if wrapper else state
    torch.save(whole, path)
    loaded = load_model("lvvit_t", weights=path).model
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(loaded.state_dict()[name], state[name]) for name in state)


@pytest.mark.slow
def test_a_checkpoint_of_another_image_size_is_resampled_when_asked(
    small: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "lvvit_t.pth"
    torch.save({"state_dict": small.state_dict()}, path)
    model = load_model("lvvit_t", weights=path, image_size=256).model
    assert model.get_parameter("pos_embed").shape == (1, 1 + 16 * 16, 240)
    assert adapt(model).image_size == (256, 256)
    larger = timm.create_model("lvvit_t", img_size=256, num_classes=7)
    torch.save(larger.state_dict(), path)
    with pytest.raises(KeeprateError, match="has 257 position embeddings, the model has 197"):
        load_model("lvvit_t", weights=path)


def test_a_checkpoint_without_its_second_head_is_refused(small: nn.Module, tmp_path: Path) -> None:
    state = {name: value for name, value in small.state_dict().items() if "aux_head" not in name}
    torch.save(state, tmp_path / "lvvit_t.pth")
    with pytest.raises(KeeprateError, match=r"2 missing \(aux_head.bias, aux_head.weight\)"):
        load_model("lvvit_t", weights=tmp_path / "lvvit_t.pth")


def test_published_weights_are_asked_for_as_a_file() -> None:
    with pytest.raises(KeeprateError, match=r"Give local weights: --weights"):
        load_model("lvvit_t")


def test_other_sizes_and_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="takes images of 24x24 pixels, not 32x24"):
        tiny()(torch.zeros(1, 3, 32, 24))
    with pytest.raises(KeeprateError, match="whole patches, 16 pixels and even; not 230x230"):
        LVViT(img_size=230)
    with pytest.raises(KeeprateError, match="needs classes"):
        LVViT(num_classes=0)


def test_what_is_not_exactly_lvvit_is_refused() -> None:
    child = type("MyLVViT", (LVViT,), {})(**TINY)
    with pytest.raises(KeeprateError, match="a subclass of LVViT may compute otherwise"):
        adapt(child)
    changed = tiny()
    changed.blocks[1].mlp = nn.Identity()
    with pytest.raises(KeeprateError, match="the MLP of block 1 is a Identity, not Mlp"):
        adapt(changed)
    hooked = tiny()
    hooked.blocks[2].register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(KeeprateError, match="forward hooks on it or its blocks"):
        adapt(hooked)


def test_dropping_all_patches_before_the_last_mlp_is_refused() -> None:
    with pytest.raises(KeeprateError, match="needs a head that reads only the class token"):
        keeprate.reduce(tiny(), "random", "r=2", empty_last_mlp=True)
