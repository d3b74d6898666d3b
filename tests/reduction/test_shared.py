"""Runs that go together give the bits they give alone, and cost less."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import timm
import torch
from torch import OutOfMemoryError, Tensor, nn

import keeprate
from keeprate import Attention, KeeprateError, Method, Needs, Stage, Tokens
from keeprate.backbone import Backbone
from keeprate.backbones.lookup import adapt
from keeprate.reduction.plan import make_plan
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.reduction.shared_forward import SharedForward, refuse_out_of_memory, shared_macs
from references.tiny import images_for, tiny_vit

RUNS = (
    ("full", None, {}),
    ("random", "keep=0.7@1,2,3", {}),
    ("random", "keep=0.7@1,2", {}),
    ("random", "keep=0.7@1,2", {"seed": 3}),
    ("random", "keep=0.7,0.5@1,3", {}),
    ("tome", "r=2", {}),
    ("tome", "r=2,2,1,0", {}),
    ("tome", "r=2", {"proportional_attention": False}),
    ("zero-tprune", "keep=0.6@1,2", {}),
    ("zero-tprune", "keep=0.6@2", {"on_drop": "mass"}),
    ("zero-tprune", "keep=0.6@2", {"pattern": "I"}),
    ("attention-score", "keep=0.5@2", {}),
    ("class-attention", "keep=1.0@1,2", {}),
)


def models_of(vit: nn.Module, runs: tuple[object, ...] = RUNS) -> dict[str, ReducedModel]:
    """Reduced models of one backbone, as a comparison has them."""
    backbone = adapt(vit)
    return {str(run): reduced(backbone, *run) for run in runs}  # type: ignore[misc]


def reduced(
    backbone: Backbone, method: str, schedule: str | None, values: Mapping[str, object]
) -> ReducedModel:
    from keeprate.plugins.parameters import build
    from keeprate.plugins.registry import registry

    built = build("method", registry().method(method), values)
    return ReducedModel(backbone, make_plan(backbone, built, schedule, None))


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return tiny_vit()


def test_shared_runs_give_the_bits_they_give_alone(vit: nn.Module) -> None:
    models = models_of(vit)
    images, index = images_for(vit, 5), torch.arange(3, 8)
    with torch.inference_mode():
        found = SharedForward(models)(images, index, list(models))
        told = {name: (m.token_counts, m.macs_per_image.total) for name, m in models.items()}
        assert found.failed == {}
        for name, model in models.items():
            assert torch.equal(found.logits[name], model(images, index)), name
            counts, macs = told[name]
            assert torch.equal(counts, model.token_counts), name
            assert torch.equal(macs, model.macs_per_image.total), name


@pytest.mark.parametrize("names", list(itertools.permutations(range(4))), ids=str)
def test_the_order_of_runs_changes_nothing(vit: nn.Module, names: tuple[int, ...]) -> None:
    models = models_of(vit, RUNS[1:5])
    order = [list(models)[place] for place in names]
    images, index = images_for(vit), torch.arange(3)
    with torch.inference_mode():
        found = SharedForward(models)(images, index, order)
        for name in order:
            assert torch.equal(found.logits[name], models[name](images, index))


class Counting(nn.Module):
    """Counts the blocks that are run."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = block, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)  # type: ignore[no-any-return]


def norms_run(vit: nn.Module, runs: tuple[object, ...]) -> list[int]:
    """How often each block's MLP norm is run for one batch of several runs."""
    models = models_of(vit, runs)
    counters = [Counting(block.norm2) for block in vit.blocks]
    for block, counter in zip(vit.blocks, counters, strict=True):
        block.norm2 = counter
    try:
        with torch.inference_mode():
            SharedForward(models)(images_for(vit), torch.arange(3), list(models))
    finally:
        for block, counter in zip(vit.blocks, counters, strict=True):
            block.norm2 = counter.inner
    return [counter.calls for counter in counters]


@pytest.mark.parametrize(
    ("runs", "blocks"),
    [
        ((RUNS[0], ("tome", "18@2", {}), ("random", "18@2", {})), [1, 1, 3, 3]),
        ((("random", "8@1,6@2", {}), ("random", "8@1,5@3", {})), [1, 1, 2, 2]),
        ((("random", "8@1", {}), ("random", "8@1", {"seed": 1})), [1, 2, 2, 2]),
        ((("random", "8@1", {}), ("random", "7@1", {})), [1, 2, 2, 2]),
        ((RUNS[0], RUNS[12]), [1, 1, 1, 1]),  # stages that remove nothing
    ],
    ids=["first stages", "equal leading stages", "parameters", "counts", "nothing removed"],
)
def test_what_runs_share_is_computed_once(
    vit: nn.Module, runs: tuple[object, ...], blocks: list[int]
) -> None:
    assert norms_run(vit, runs) == blocks


def test_shared_costs_are_those_of_the_blocks_that_are_run() -> None:
    vit = timm.create_model("vit_tiny_patch16_224").eval()
    alone = models_of(vit, (RUNS[0],))
    assert shared_macs(list(alone.values()), (224, 224)) == keeprate.macs(vit)
    two = models_of(vit, (RUNS[0], ("random", "98@6", {})))
    separate = sum(model.costs().total for model in two.values())
    plain = alone[str(RUNS[0])].costs()
    six_blocks = (plain.projections + plain.attention + plain.mlp) // 2
    shared = shared_macs(list(two.values()), (224, 224))
    assert shared == separate - six_blocks - plain.embedding


class Broken(Method):
    """Raises at block 2, after a shared stage at block 1."""

    name = "broken"

    def __init__(self, how: str = "raises") -> None:
        self.how = how

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        if stage.block < 2:
            return tokens.keep_top(tokens.size, stage.keep)
        if self.how == "raises":
            raise ValueError("no such token")
        if self.how == "too many":
            return tokens
        if self.how == "state":
            self.seen = tokens
        if self.how == "in place":
            tokens.x.zero_()
            tokens.size.zero_()
        return tokens.keep_top(tokens.size, stage.keep)


def broken(vit: nn.Module, how: str, schedule: str = "9@1,5@2") -> ReducedModel:
    backbone = adapt(vit)
    return ReducedModel(backbone, make_plan(backbone, Broken(how), schedule, None))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "Method 'broken' at block 2: reduce raised ValueError: no such token ("),
        ("too many", "Method 'broken' at block 2 kept 9 patch tokens where 5 were scheduled ("),
        ("state", "Method 'broken' changed its attribute 'seen' while it ran"),
    ],
)
def test_a_run_that_fails_leaves_the_others_alone(vit: nn.Module, how: str, said: str) -> None:
    models = {**models_of(vit), "broken": broken(vit, how)}
    images, index = images_for(vit), torch.arange(3)
    with torch.inference_mode():
        found = SharedForward(models)(images, index, list(models))
        assert list(found.failed) == ["broken"]
        assert found.failed["broken"].error.startswith(said)
        assert "test_shared.py" in found.failed["broken"].traceback or how != "raises"
        for name in set(models) - {"broken"}:
            assert torch.equal(found.logits[name], models[name](images, index))


@pytest.mark.parametrize("first", [True, False], ids=["before the other", "after it"])
def test_a_method_that_writes_into_its_tokens_spoils_no_other_run(
    vit: nn.Module, first: bool
) -> None:
    merging = ("tome", "18@2", {})  # weighs tokens by their size
    models = {**models_of(vit, (merging,)), "broken": broken(vit, "in place", "9@2")}
    order = sorted(models, key=lambda name: (name == "broken") != first)
    images, index = images_for(vit), torch.arange(3)
    with torch.inference_mode():
        found = SharedForward(models)(images, index, order)
        assert torch.equal(found.logits[str(merging)], models[str(merging)](images, index))


def test_runs_that_share_a_broken_stage_fail_together(vit: nn.Module) -> None:
    backbone = adapt(vit)
    schedules = ("9@2,5@3", "9@2")
    models = {
        schedule: ReducedModel(backbone, make_plan(backbone, Broken(), schedule, None))
        for schedule in schedules
    }
    with torch.inference_mode():
        found = SharedForward(models)(images_for(vit), torch.arange(3), list(models))
    assert sorted(found.failed) == sorted(schedules)
    assert found.logits == {}


class Greedy(Method):
    """Claims more memory than there is."""

    name = "greedy"
    needs = Needs.NOTHING

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")


def test_the_end_of_the_memory_is_nobodys_failure(vit: nn.Module) -> None:
    backbone = adapt(vit)
    greedy = ReducedModel(backbone, make_plan(backbone, Greedy(), "9@2", None))
    models = {**models_of(vit), "greedy": greedy}
    with torch.inference_mode(), pytest.raises(OutOfMemoryError):
        SharedForward(models)(images_for(vit), torch.arange(3), list(models))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: ...)"),
    ],
)
def test_every_way_of_saying_that_memory_is_out_is_understood(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError):
        refuse_out_of_memory(error)


def test_other_errors_are_not_taken_for_it() -> None:
    refuse_out_of_memory(RuntimeError("shape mismatch"))
    refuse_out_of_memory(KeeprateError("out of memory, said the method"))
