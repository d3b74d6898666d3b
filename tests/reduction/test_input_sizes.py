"""Fewer pixels and larger patches: grids, budgets, costs and the model that runs."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

import keeprate
from keeprate import KeeprateError
from keeprate.backbones.lookup import adapt
from keeprate.reduction.macs import count
from keeprate.reduction.plan import make_plan
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.reduction.shared_forward import SharedForward, shared_macs
from keeprate.resizing import InputMethod, InputSize
from keeprate_methods.downsample import Downsample
from keeprate_methods.full import Full
from keeprate_methods.patch_size import PatchSize
from references.tiny import images_for, tiny_vit

OWN = InputSize((224, 224), (16, 16))
GMACS = {
    "deit_small_patch16_224": (3.926, 3.315, 2.764, 2.268),
    "vit_base_patch16_224": (15.07, 12.79, 10.71, 8.83),
    "vit_large_patch16_224": (52.9, 44.9, 37.7, 31.1),
}
"""Of 208, 192, 176 and 160 pixels."""


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return tiny_vit()


def grids(method: InputMethod, own: InputSize = OWN) -> list[tuple[int, int]]:
    return [size.grid for size in method.sizes(own)]


def test_grids_lose_a_row_or_a_column_at_a_time() -> None:
    assert grids(Downsample())[:5] == [(14, 14), (14, 13), (13, 13), (13, 12), (12, 12)]
    assert grids(Downsample())[-2:] == [(2, 1), (1, 1)]
    # of 4 x 2 the side that has lost less goes next, at its own pace
    long = InputSize((64, 32), (16, 16))
    assert grids(Downsample(), long) == [(4, 2), (4, 1), (3, 1), (2, 1)]


def test_larger_patches_divide_the_image() -> None:
    assert grids(PatchSize()) == [(14, 14), (8, 8), (8, 7), (7, 7), (4, 4), (2, 2), (2, 1), (1, 1)]
    assert PatchSize().sizes(OWN)[2] == InputSize((224, 224), (28, 32))
    assert Downsample().sizes(OWN)[3] == InputSize((208, 192), (16, 16))


@pytest.mark.parametrize("name", GMACS)
def test_costs_are_those_of_the_models_at_fewer_pixels(name: str) -> None:
    with torch.device("meta"):
        backbone = adapt(timm.create_model(name).eval())
    for grid, gmacs in zip((13, 12, 11, 10), GMACS[name], strict=True):
        plan = make_plan(backbone, Downsample(str(grid)), None, None)
        assert plan.costs((224, 224)).total / 1e9 == pytest.approx(gmacs, rel=2e-3)


def test_a_budget_takes_the_largest_grid_that_costs_no_more(vit: nn.Module) -> None:
    backbone = adapt(vit)
    costs = {}
    for size in Downsample().sizes(InputSize((20, 20), (4, 4))):
        resized = backbone if size.grid == (5, 5) else backbone.resized(size)
        costs[size.grid] = count(resized, size.image).total
    whole = costs[5, 5]
    for share in (0.9, 0.65, 0.5, 0.3):
        plan = make_plan(backbone, Downsample(), None, f"{share:.0%}")
        found = max(cost for cost in costs.values() if cost <= share * whole)
        assert plan.costs((20, 20)).total == found
        above = min(cost for cost in costs.values() if cost > share * whole)
        note = plan.note((20, 20))
        assert note is not None
        assert all(f"{cost / 1e6:.3f} MMACs" in note for cost in (found, above))


@pytest.mark.parametrize("method", ["downsample", "patch-size"])
def test_at_its_own_size_the_model_is_the_unpruned_one(vit: nn.Module, method: str) -> None:
    images = images_for(vit)
    with torch.no_grad():
        assert torch.equal(keeprate.reduce(vit, method, budget="100%")(images), vit(images))
        assert torch.equal(keeprate.reduce(vit, method, grid="5")(images), vit(images))


@pytest.mark.parametrize(("grid", "size"), [("4", (16, 16)), ("4x3", (16, 12))])
def test_fewer_pixels_are_timms_own_model_at_that_size(
    vit: nn.Module, grid: str, size: tuple[int, int]
) -> None:
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    reduced = keeprate.reduce(vit, "downsample", grid=grid)
    smaller = timm.create_model(
        "vit_tiny_patch16_224",
        **{"img_size": size, "patch_size": 4, "embed_dim": 24, "num_heads": 3, "num_classes": 5},
        depth=4,
    ).eval()
    filtered = timm.models.vision_transformer.checkpoint_filter_fn(dict(before), smaller)
    smaller.load_state_dict(filtered)
    images = images_for(vit)
    resized = F.interpolate(images, size, mode="bicubic", antialias=True)
    with torch.no_grad():
        expected = smaller(resized)
        assert torch.equal(reduced(resized), expected)
        # images of the model's own size are made smaller first
        assert torch.equal(reduced(images), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in vit.state_dict().items())
    assert reduced.macs_per_image.total.tolist() == [keeprate.macs(smaller)] * 3


def test_larger_patches_are_timms_own_model_of_that_patch_size() -> None:
    vit = tiny_vit(img_size=24, patch_size=4)
    reduced = keeprate.reduce(vit, "patch-size", grid="4x3")
    larger = timm.create_model(
        "vit_tiny_patch16_224",
        **{"img_size": 24, "patch_size": (6, 8), "embed_dim": 24, "num_heads": 3},
        num_classes=5,
        depth=4,
    ).eval()
    filtered = timm.models.vision_transformer.checkpoint_filter_fn(vit.state_dict(), larger)
    larger.load_state_dict(filtered)
    images = images_for(vit)
    with torch.no_grad():
        assert torch.equal(reduced(images), larger(images))
    assert reduced.costs().total == keeprate.macs(larger) == reduced.costs((24, 24)).total


@pytest.mark.filterwarnings(r"ignore::UserWarning:timm.layers.interpolate")
@pytest.mark.parametrize(
    "name",
    ["beit_base_patch16_224", "eva02_tiny_patch14_224", "vit_relpos_small_patch16_224"],
)
def test_other_rules_of_positions_are_the_familys_own(name: str) -> None:
    sizes = {"patch_size": 4, "embed_dim": 24, "num_heads": 3, "num_classes": 5, "depth": 2}
    torch.manual_seed(0)
    model = timm.create_model(name, img_size=20, **sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    reduced = keeprate.reduce(model, "downsample", grid="4x3")
    images = torch.randn(2, 3, 16, 12)
    with torch.no_grad():
        model.set_input_size(img_size=(16, 12))
        assert torch.equal(reduced(images), model(images))


def test_the_weights_of_the_blocks_are_shared(vit: nn.Module) -> None:
    backbone = adapt(vit)
    first, second = (
        make_plan(backbone, Downsample("4", then), *cost)
        for then, cost in (("none", (None, None)), ("tome", ("r=2", None)))
    )
    assert first.backbone is second.backbone is not backbone
    others = {id(parameter) for parameter in first.backbone.model.parameters()}
    left = [name for name, p in vit.named_parameters() if id(p) not in others]
    assert left == ["pos_embed"]


def test_another_method_reduces_what_is_left(vit: nn.Module) -> None:
    images = images_for(vit)
    resized = F.interpolate(images, (16, 16), mode="bicubic", antialias=True)
    both = keeprate.reduce(vit, "downsample", "r=2", grid="4", then="tome")
    small = adapt(keeprate.reduce(vit, "downsample", grid="4").backbone.model)
    alone = keeprate.reduce(small.model, "tome", "r=2")
    with torch.no_grad():
        assert torch.equal(both(images), alone(resized))
    assert both.costs().total == alone.costs().total
    assert both.token_counts[0].tolist() == [15, 13, 11, 9]
    # a share is one of the whole model
    budgeted = keeprate.reduce(vit, "downsample", budget="40%", grid="4", then="tome")
    assert 0.3 < budgeted.costs().total / keeprate.macs(vit) <= 0.4


def test_runs_of_other_sizes_go_through_one_pass(vit: nn.Module) -> None:
    backbone = adapt(vit)
    methods = {
        "full": make_plan(backbone, Full(), None, None),
        "small": make_plan(backbone, Downsample("4"), None, None),
        "small and merged": make_plan(backbone, Downsample("4", "tome"), "r=2", None),
        "large patches": make_plan(backbone, PatchSize("1"), None, None),
    }
    models = {name: ReducedModel(plan.backbone, plan) for name, plan in methods.items()}
    images, smaller = images_for(vit), torch.randn(3, 3, 16, 16)
    inputs = {(20, 20): images, (16, 16): smaller}
    with torch.no_grad():
        outputs = SharedForward(models)(inputs, torch.arange(3), list(models))
        assert not outputs.failed
        for name, model in models.items():
            alone = model(smaller if "small" in name else images)
            assert torch.equal(outputs.logits[name], alone)
    # both runs of 16 pixels share their embedding
    apart = sum(shared_macs([model], (20, 20)) for model in models.values())
    assert shared_macs(list(models.values()), (20, 20)) < apart


REFUSED = {
    "grid=6": "Method 'downsample' cannot run the model, whose grid is 5x5 patches of 4x4 pixels, "
    "on 6x6. Possible are 5x5, 5x4, 4x4, 4x3, 3x3, 3x2, for example.",
    "grid=4by4": "Method 'downsample': grid must be rows and columns, as 12x11 or 12, or auto, not "
    "'4by4'.",
    "then=tome": "Method 'downsample': then=tome reduces a grid that is given: write grid=12 as "
    "well.",
    "grid=4,then=full": "Method 'downsample': then=full reduces no tokens. Name one that does, as "
    "then=tome.",
    "": "Method 'downsample' needs a budget (65%) or a grid (downsample:grid=12), not both.",
}


@pytest.mark.parametrize("parameters", REFUSED)
def test_impossible_grids_are_refused(vit: nn.Module, parameters: str) -> None:
    values = dict(part.split("=") for part in parameters.split(",") if part)
    with pytest.raises(KeeprateError) as told:
        keeprate.reduce(vit, "downsample", **values)
    assert str(told.value) == REFUSED[parameters]


def test_what_has_no_stages_takes_no_schedule(vit: nn.Module) -> None:
    with pytest.raises(KeeprateError, match="has no stages: leave the schedule out"):
        keeprate.reduce(vit, "downsample", "r=2")
    with pytest.raises(KeeprateError, match=r"needs a budget .* or a grid .*, not both"):
        keeprate.reduce(vit, "downsample", grid="4", budget="50%")


def test_images_of_no_planned_size_are_refused(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, "downsample", grid="4")
    with pytest.raises(KeeprateError, match="images of 16 x 16 and 20 x 20 pixels, not 24 x 24"):
        reduced(torch.zeros(1, 3, 24, 24))
    with pytest.raises(KeeprateError, match="not 24 x 24"):
        reduced.costs(24)


def test_a_family_without_a_rule_is_refused() -> None:
    with torch.device("meta"):
        volo = timm.create_model("volo_d1_224").eval()
    with pytest.raises(KeeprateError) as told:
        make_plan(adapt(volo), Downsample(), None, "50%")
    assert str(told.value) == (
        "Method 'downsample' makes images smaller or patches larger, and backbone 'timm-volo' has "
        "no rule for another size of images and patches: this VOLO cannot be compared with it."
    )
