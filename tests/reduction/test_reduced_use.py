"""A reduced model in use: compiled, trained, hooked, called wrongly, made of foreign parts."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

import keeprate
from keeprate import KeeprateError
from references.tiny import images_for, tiny_vit

SLOW = pytest.mark.slow
KINDS = ["vit_tiny_patch16_224", "vit_base_patch16_siglip_224", "beit_base_patch16_224"]


class Foreign(nn.Module):
    """Multiplies as a linear layer does, without being one."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [KINDS[0], *(pytest.param(each, marks=SLOW) for each in KINDS[1:])]
)
@pytest.mark.parametrize(
    ("method", "schedule"),
    [("tome", "r=3"), pytest.param("zero-tprune", "keep=0.7@1,2", marks=SLOW)],
)
def test_compiling_changes_nothing(name: str, method: str, schedule: str) -> None:
    reduced = keeprate.reduce(tiny_vit(name), method, schedule)
    images = images_for(reduced.model)
    torch._dynamo.reset()
    compiled = torch.compile(reduced, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(images), reduced(images))


@pytest.mark.system
def test_what_the_proof_leaves_behind_can_be_trained_through() -> None:
    pytest.importorskip("transformers")
    script = """
import torch, keeprate
from keeprate.backbones.huggingface.vision import HFBeit
model = HFBeit.examples()["BEiT"]()
reduced = keeprate.reduce(model, "tome", "r=1")
for each in (reduced, HFBeit.examples()["BEiT"]().train()):
    out = each(torch.randn(2, 3, 32, 32))
    getattr(out, "logits", out).sum().backward()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_hook_that_would_never_run_is_refused() -> None:
    reduced = keeprate.reduce(tiny_vit(), "tome", "r=2")
    images = images_for(reduced.model)
    seen = []
    reduced.model.blocks[1].attn.register_forward_hook(lambda *call: seen.append(call))
    reduced(images)  # the hook is new: the model is proved again, which calls it, too
    seen.clear()
    reduced(images)
    assert len(seen) == 1
    reduced.model.blocks[1].register_forward_hook(lambda *call: None)
    with pytest.raises(KeeprateError, match="hook on the reduced model's Block would never run"):
        reduced(images)


@pytest.mark.parametrize("part", ["attn.qkv", "mlp.fc1"])
def test_products_nobody_would_count_are_refused(part: str) -> None:
    model = tiny_vit()
    parent, _, last = part.partition(".")
    owner = model.blocks[1].get_submodule(parent)
    setattr(owner, last, Foreign(getattr(owner, last)))
    with pytest.raises(
        KeeprateError, match=rf"'blocks.1.{part}' is a .*Foreign, whose cost is not"
    ):
        keeprate.macs(model)


def test_quantised_layers_are_refused_for_what_they_are() -> None:
    model = tiny_vit()
    model.blocks[0].mlp.fc1 = type("Linear", (nn.Module,), {"__module__": "torch.ao.nn.dynamic"})()
    with pytest.raises(KeeprateError, match=r"torch\.ao\.nn\.dynamic\.Linear, whose cost is not"):
        keeprate.reduce(model, "tome", "r=2")


def test_channels_other_than_three_are_taken() -> None:
    reduced = keeprate.reduce(tiny_vit(in_chans=1), "tome", "r=2")
    assert reduced(torch.zeros(2, 1, 20, 20)).shape == (2, 5)


def test_calls_that_make_no_sense_are_refused_clearly() -> None:
    reduced = keeprate.reduce(tiny_vit(), "random", "r=2")
    images = images_for(reduced.model)
    with pytest.raises(KeeprateError, match="index names 2 images of a batch of 3"):
        reduced(images, torch.tensor([1, 2]))
    for nothing in ((), ([images],), ({},)):
        with pytest.raises(KeeprateError, match="Call a reduced model with a tensor"):
            reduced(*nothing)


@pytest.mark.parametrize("method", ["tome", "random", "attention-score", "zero-tprune"])
def test_an_empty_batch_gives_no_logits(method: str) -> None:
    reduced = keeprate.reduce(tiny_vit(), method, budget="70%")
    assert reduced(torch.zeros(0, 3, 20, 20)).shape == (0, 5)


def test_a_model_that_cannot_be_copied_is_refused_with_the_remedy() -> None:
    model = tiny_vit()
    prune.random_unstructured(model.blocks[0].mlp.fc1, "weight", 0.5)
    with pytest.raises(KeeprateError, match="must be made permanent first"):
        keeprate.reduce(model, "tome", "r=2")


@pytest.mark.parametrize("size", [(32, 32), (48, 80)])
def test_images_of_a_wrong_size_are_refused_in_our_words(size: tuple[int, int]) -> None:
    reduced = keeprate.reduce(tiny_vit(), "tome", schedule="r=2")
    own = "{} x {}".format(*reduced.backbone.image_size)
    with pytest.raises(KeeprateError) as caught:
        reduced(torch.zeros(1, 3, *size))
    assert str(caught.value) == (
        f"The model takes images of {own} pixels, not {size[0]} x {size[1]}: resize them, or make "
        "the model for this size."
    )


def test_gradient_checkpointing_is_refused_where_it_would_not_happen() -> None:
    reduced = keeprate.reduce(tiny_vit(), "tome", schedule="r=2")
    images = torch.zeros(1, 3, *reduced.backbone.image_size)
    reduced.model.set_grad_checkpointing(True)
    assert reduced.eval()(images).isfinite().all()
    with torch.no_grad():
        assert reduced.train()(images).isfinite().all()
    with pytest.raises(KeeprateError, match=r"Gradient checkpointing is switched on, .* Switch it"):
        reduced(images)
    reduced.model.set_grad_checkpointing(False)
    assert reduced(images).requires_grad
