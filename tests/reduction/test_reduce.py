"""reduce(): a copy of the model that behaves like a module and tells what it did."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import timm
import torch
from torch import nn

import keeprate
from keeprate import KeeprateError
from keeprate.attention import CHUNK_BYTES
from references.tiny import images_for, tiny_vit

METHODS = [
    ("random", {}),
    ("attention-score", {}),
    ("class-attention", {}),
    ("tome", {}),
    ("tome", {"proportional_attention": False}),
    ("zero-tprune", {}),
    ("zero-tprune", {"on_drop": "mass"}),
    ("zero-tprune", {"on_drop": "merge", "feature": "x"}),
]
every_method = pytest.mark.parametrize(
    ("method", "parameters"), METHODS, ids=[f"{name} {given or ''}" for name, given in METHODS]
)


@every_method
def test_the_original_is_left_as_it_was(
    vit: nn.Module, method: str, parameters: dict[str, object]
) -> None:
    images = images_for(vit)
    state = {name: value.clone() for name, value in vit.state_dict().items()}
    with torch.inference_mode():
        logits = vit(images)
        reduced = keeprate.reduce(vit, method, "keep=0.6@1,2", **parameters)
        ours = reduced(images)
        assert torch.equal(vit(images), logits)
    assert not torch.equal(ours, logits)
    assert state.keys() == vit.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in vit.state_dict().items())
    assert all(
        not (m._forward_hooks or m._forward_pre_hooks or m._backward_hooks) for m in vit.modules()
    )
    assert not {id(p) for p in vit.parameters()} & {id(p) for p in reduced.parameters()}


@every_method
def test_no_grad_inference_mode_and_autograd_give_the_same(
    vit: nn.Module, method: str, parameters: dict[str, object]
) -> None:
    reduced = keeprate.reduce(vit, method, "keep=0.6@1,2", **parameters)
    images = images_for(vit)
    recorded = reduced(images)
    for mode in (torch.no_grad, torch.inference_mode):  # which may choose other kernels
        with mode():
            ours = reduced(images)
        torch.testing.assert_close(ours, recorded.detach(), rtol=1e-9, atol=1e-9)
    assert recorded.requires_grad


@every_method
def test_gradients_reach_every_parameter_and_the_image(
    vit: nn.Module, method: str, parameters: dict[str, object]
) -> None:
    reduced = keeprate.reduce(vit, method, "keep=0.6@0,2", **parameters)
    images = images_for(vit).requires_grad_()
    reduced(images).square().sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0
    for name, parameter in reduced.model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("qkv.bias"):  # a constant added to all keys changes nothing
            assert parameter.grad.abs().sum() > 0, name


def test_dropped_tokens_never_reach_the_mlp_of_their_block(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, "random", "10@0", trace=True)
    entering = {}
    reduced.model.blocks[0].norm2.register_forward_hook(
        lambda module, args, out: entering.update(x=args[0])
    )
    reduced(images_for(vit))
    assert entering["x"].shape[1] == 11


@pytest.mark.sample(4)
@every_method
def test_gradients_equal_finite_differences(
    vit: nn.Module, method: str, parameters: dict[str, object]
) -> None:
    reduced = keeprate.reduce(vit, method, "keep=0.6@1,2", **parameters)
    images = images_for(vit, batch=1)
    generator = torch.Generator().manual_seed(9)
    direction = torch.randn(images.shape, generator=generator, dtype=torch.float64)
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(reduced(images).sum(), images)
    step = 1e-6
    with torch.no_grad():
        ahead, behind = (reduced(images + s * direction).sum() for s in (step, -step))
    torch.testing.assert_close(
        (gradient * direction).sum(), (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6
    )


@pytest.mark.sample(4)
@every_method
def test_repeated_calls_copies_and_pickles_give_the_same(
    vit: nn.Module, method: str, parameters: dict[str, object]
) -> None:
    reduced = keeprate.reduce(vit, method, "keep=0.6@1,2", trace=True, **parameters)
    images = images_for(vit)
    with torch.inference_mode():
        logits = reduced(images)
        for again in (reduced, copy.deepcopy(reduced), pickle.loads(pickle.dumps(reduced))):
            assert torch.equal(again(images), logits)
            assert again.stages() == reduced.stages()


@pytest.mark.parametrize(
    "schedule", ["r=3", "r=4..1", "r=1,2,3,4", "depth=3", "sqrt-depth=2", "20@1,9@3", "keep=0.5"]
)
def test_every_form_of_schedule_can_be_pickled_and_saved(vit: nn.Module, schedule: str) -> None:
    reduced = keeprate.reduce(vit, "random", schedule)
    again = pickle.loads(pickle.dumps(reduced))
    assert again.stages() == reduced.stages()
    torch.save(reduced, io.BytesIO())


def test_a_copy_is_independent(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, "tome", "r=3")
    images = images_for(vit)
    twin = copy.deepcopy(reduced)
    with torch.inference_mode():
        logits = reduced(images)
        for parameter in twin.parameters():
            parameter.zero_()
        assert torch.equal(reduced(images), logits)
        assert not twin(images).any()


@pytest.mark.sample(12)
@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrower_numbers_stay_finite_and_close(
    vit: nn.Module, method: str, parameters: dict[str, object], dtype: torch.dtype
) -> None:
    images = images_for(vit, batch=4)
    reduced = keeprate.reduce(vit, method, "keep=0.7@1,2", trace=True, **parameters)
    with torch.inference_mode():
        exact = reduced(images)
        exact_owners = [survivors.owner for survivors in reduced.survivors]
        narrow = reduced.to(dtype)(images.to(dtype))
    assert narrow.dtype is dtype
    assert narrow.isfinite().all()
    same = [torch.equal(a, b.owner) for a, b in zip(exact_owners, reduced.survivors, strict=True)]
    if dtype is torch.float32:
        assert all(same)
        torch.testing.assert_close(narrow.double(), exact, rtol=1e-3, atol=1e-3)
    else:
        assert (narrow.double() - exact).norm() < 0.3 * exact.norm()


@every_method
def test_autocast_stays_finite(vit: nn.Module, method: str, parameters: dict[str, object]) -> None:
    vit.float()
    reduced = keeprate.reduce(vit, method, "keep=0.7@1,2", **parameters)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert reduced(images_for(vit)).isfinite().all()


@pytest.mark.sample(8)
@every_method
@pytest.mark.parametrize("batch", [1, 2])
def test_one_patch_token_may_be_left(
    vit: nn.Module, method: str, parameters: dict[str, object], batch: int
) -> None:
    schedule = "r=12" if method == "tome" else "keep=0.5@0,1,2,3"
    reduced = keeprate.reduce(vit, method, schedule, **parameters)
    with torch.inference_mode():
        assert reduced(images_for(vit, batch=batch)).isfinite().all()
    expected = [14, 8, 5, 3] if method == "tome" else [13, 7, 4, 2]
    assert reduced.token_counts.tolist() == [expected] * batch


@every_method
def test_costs_and_counts_of_every_image_are_those_of_the_schedule(
    vit: nn.Module, method: str, parameters: dict[str, object]
) -> None:
    reduced = keeprate.reduce(vit, method, "18@0,11@2", **parameters)
    with torch.inference_mode():
        reduced(images_for(vit, batch=2))
    assert reduced.token_counts.tolist() == [[19, 19, 12, 12]] * 2
    costs, spent = reduced.costs(), reduced.macs_per_image
    assert spent.model.tolist() == [costs.model] * 2
    assert spent.overhead.tolist() == [costs.overhead] * 2
    assert spent.total.tolist() == [keeprate.macs(reduced)] * 2


@every_method
def test_scoring_a_few_images_at_a_time_changes_nothing(
    vit: nn.Module,
    method: str,
    parameters: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reduced = keeprate.reduce(vit, method, "keep=0.6@0,1,2", trace=True, **parameters)
    images = images_for(vit, batch=5)
    one_image = 3 * 26 * 26 * 8
    found = []
    for limit in (1, 2 * one_image, 100 * one_image):
        monkeypatch.setitem(CHUNK_BYTES, "cpu", limit)
        with torch.inference_mode():
            logits = reduced(images)
        found.append((logits, torch.stack([s.owner for s in reduced.survivors])))
    for logits, owners in found[1:]:
        torch.testing.assert_close(logits, found[0][0], rtol=1e-9, atol=1e-9)
        assert torch.equal(owners, found[0][1])


def test_what_the_last_call_did_is_asked_for_after_a_call(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, "random", "10@1")
    for ask in (lambda: reduced.token_counts, lambda: reduced.macs_per_image):
        with pytest.raises(KeeprateError, match="has not been called yet"):
            ask()
    with pytest.raises(KeeprateError, match="recorded only with trace=True"):
        reduced.survivors  # noqa: B018


@every_method
def test_owners_follow_every_patch_through_all_stages(
    vit: nn.Module, method: str, parameters: dict[str, object]
) -> None:
    reduced = keeprate.reduce(vit, method, "18@0,12@1,7@3", trace=True, **parameters)
    with torch.inference_mode():
        reduced(images_for(vit))
    assert [survivors.block for survivors in reduced.survivors] == [0, 1, 3]
    merges = method == "tome" or parameters.get("on_drop") in ("mass", "merge")
    lost = torch.zeros(3, 25, dtype=torch.bool)
    for survivors, keep in zip(reduced.survivors, (18, 12, 7), strict=True):
        owner = survivors.owner
        assert owner.shape == (3, 25)
        assert (owner[lost] == -1).all()
        lost = owner < 0
        assert lost.sum(dim=1).tolist() == [0 if merges else 25 - keep] * 3
        for row in owner:
            assert set(row[row >= 0].tolist()) == set(range(1, keep + 1))


def test_mistaken_names_and_parameters_are_explained() -> None:
    model = tiny_vit()
    for arguments, options, message in [
        (("tom", "r=3"), {}, "No method 'tom'. Did you mean 'tome'?"),
        (
            ("tome", "r=3"),
            {"patern": "S"},
            "No parameter 'patern' in method 'tome'.",
        ),
        (("full", "r=3"), {}, "Method 'full' reduces nothing: drop schedule and budget."),
        (
            ("zero-tprune", "paper-deit"),
            {},
            "No schedule or preset 'paper-deit'. Did you mean 'paper-deit-s'?",
        ),
    ]:
        with pytest.raises(KeeprateError) as refused:
            keeprate.reduce(model, *arguments, **options)
        assert str(refused.value).startswith(message)


def test_a_timm_name_loads_that_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from keeprate.reduction import reduce as choosing

    asked = []

    def load_model(name: str) -> object:
        asked.append(name)
        return type("Loaded", (), {"model": tiny_vit()})

    monkeypatch.setattr(choosing, "load_model", load_model)
    keeprate.reduce("deit_tiny_patch16_224", "tome", "r=2")
    assert asked == ["deit_tiny_patch16_224"]


def test_training_drops_attention_without_stopping_the_method() -> None:
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, attn_drop_rate=0.3
    ).train()
    for method in ("attention-score", "tome", "zero-tprune"):
        reduced = keeprate.reduce(model, method, "10@1")
        assert reduced.training
        logits = reduced(torch.zeros(2, 3, 32, 32))
        assert logits.isfinite().all()
