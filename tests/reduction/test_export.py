"""Reduced models are ordinary modules: saved, exported and compiled as docs/python.md says."""

from __future__ import annotations

import copy
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import keeprate
from broken_methods import KeyNorm
from keeprate import Attention, KeeprateError, Method, Stage, Tokens
from keeprate.plugins.parameters import parse_spec
from keeprate.plugins.registry import registry
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.resizing import InputMethod
from paths import DOCS
from references.tiny import images_for, tiny_vit
from weights_factory import COUNTS, with_weights

PAGE = (DOCS / "python.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| `([^`]+)` \| (yes|no) \| (yes|no) \| (one graph|in parts) \|$", PAGE, flags=re.MULTILINE
)
KINDS = ["vit_tiny_patch16_224", "vit_base_patch16_siglip_224", "eva02_tiny_patch14_224"]
BATCHES = ({0: torch.export.Dim("batch", min=2)},)


class KeepsWhatItLikes(Method):
    """Keeps another number of tokens in every image."""

    name = "likes"
    keeps_per_image = True

    def reduce(self, tokens: Tokens, attention: object, stage: Stage) -> Tokens:
        return tokens.keep_top(tokens.size, stage.keep)


def reduced_by(spec: str, model: str = KINDS[0]) -> ReducedModel:
    """A tiny model of three blocks reduced by a method as the page names it."""
    name, values = parse_spec(spec)
    cls = registry().method(name)
    if issubclass(cls, InputMethod):
        return keeprate.reduce(tiny_vit(model, depth=3), name, budget="65%", **values)
    schedule = f"{COUNTS[0]}@1" if cls.reduces else None
    return keeprate.reduce(tiny_vit(model, depth=3), name, schedule, **values)


def exported(reduced: ReducedModel, images: Tensor, **options: Any) -> Any:
    return torch.export.export(reduced, (images,), **options).module()


def assert_same_logits(ours: Tensor, theirs: Tensor) -> None:
    """What is traced may run other kernels, which round otherwise."""
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.sample(1)
@pytest.mark.parametrize(("spec", "exports", "batches", "compiles"), ROWS)
def test_the_table_is_true_of_exporting(
    spec: str, exports: str, batches: str, compiles: str, tmp_path: Path
) -> None:
    reduced = reduced_by(with_weights(spec, tmp_path))
    images, others = images_for(reduced.model), images_for(reduced.model, 5, seed=3)
    assert exports == batches  # no row of the table is exported for one batch size alone
    if exports == "no":
        reason = (
            "Could not guard on data-dependent expression|torch.export cannot record|"
            "keeps a different number of tokens in every image"
        )
        with pytest.raises(Exception, match=reason):
            exported(reduced, images)
        return
    program = exported(reduced, images, dynamic_shapes=BATCHES)
    assert_same_logits(program(images), reduced(images))
    assert_same_logits(program(others), reduced(others))


def assert_compiled_once(reduced: ReducedModel, backend: str, *, exact: bool) -> None:
    """One graph, made once, gives the logits and the trace of the model as it is."""
    images, others = images_for(reduced.model), images_for(reduced.model, seed=3)
    reduced(images)  # a budget is solved in the first call
    torch._dynamo.reset()
    compiled = torch.compile(reduced, backend=backend, fullgraph=True)
    with torch.no_grad():
        compiled(images)
        with torch._dynamo.config.patch(error_on_recompile=True):
            found = compiled(others)
        counts, macs = reduced.token_counts, reduced.macs_per_image.total
        wanted = reduced(others)
        assert torch.equal(found, wanted) if exact else torch.allclose(found, wanted, 1e-4, 1e-5)
    assert torch.equal(counts, reduced.token_counts)
    assert torch.equal(macs, reduced.macs_per_image.total)


def test_a_reduced_model_is_one_graph_that_is_compiled_once() -> None:
    model = tiny_vit(depth=1)
    assert_compiled_once(keeprate.reduce(model, "attention-score", "18@0"), "eager", exact=True)


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "exports", "batches", "compiles"), ROWS)
def test_the_table_is_true_of_compiling(
    spec: str, exports: str, batches: str, compiles: str, tmp_path: Path
) -> None:
    reduced = reduced_by(with_weights(spec, tmp_path))
    if compiles == "one graph":
        assert_compiled_once(reduced, "eager", exact=True)
        return
    images = images_for(reduced.model)
    for whole in (True, False):
        torch._dynamo.reset()
        compiled = torch.compile(reduced, backend="eager", fullgraph=whole)
        with torch.no_grad():
            if whole:
                with pytest.raises(torch._dynamo.exc.Unsupported):
                    compiled(images)
            else:
                assert_same_logits(compiled(images), reduced(images))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "backend"),
    [("tome", "aot_eager"), ("zero-tprune", "aot_eager"), ("attention-score", "inductor")],
)
def test_other_compilers_make_one_graph_as_well(spec: str, backend: str) -> None:
    assert_compiled_once(reduced_by(spec), backend, exact=False)


class BreaksItsGraph(KeyNorm):
    """Has a mask, and cannot be compiled where it scores: among the calls that are answered."""

    name = "breaks"

    def key_weights(self, tokens: Tokens) -> Tensor:
        return tokens.size + torch.arange(tokens.count)

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        torch._dynamo.graph_break()
        return super().score(tokens, attention, stage)


@pytest.mark.slow
def test_a_part_of_a_graph_adds_a_mask_once() -> None:
    reduced = keeprate.reduce(tiny_vit(depth=2), BreaksItsGraph(), "18@0")
    images = images_for(reduced.model)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(reduced, backend="eager")
        assert torch.equal(compiled(images), reduced(images))


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS[1:])
@pytest.mark.parametrize("spec", ["tome", "zero-tprune"])
def test_other_families_are_exported_as_well(model: str, spec: str) -> None:
    reduced = reduced_by(spec, model)
    images, others = images_for(reduced.model), images_for(reduced.model, 5, seed=3)
    program = exported(reduced, images, dynamic_shapes=BATCHES)
    assert_same_logits(program(others), reduced(others))


@pytest.mark.slow
def test_beit_is_exported_for_one_batch_size_only() -> None:
    reduced = reduced_by("tome", "beit_base_patch16_224")
    images = images_for(reduced.model)
    assert_same_logits(exported(reduced, images)(images), reduced(images))
    with pytest.raises(Exception, match="Constraints violated"):
        exported(reduced, images, dynamic_shapes=BATCHES)


def test_a_method_without_fixed_shapes_is_refused() -> None:
    reduced = keeprate.reduce(tiny_vit(), KeepsWhatItLikes(), "keep=0.7@1")
    images = images_for(reduced.model)
    assert reduced(images).shape == (3, 5)
    with pytest.raises(KeeprateError, match="Method 'likes' keeps a different number of tokens"):
        exported(reduced, images)


@pytest.mark.slow
def test_exporting_leaves_no_record_of_what_it_traced() -> None:
    reduced = reduced_by("random")
    images = images_for(reduced.model)
    exported(reduced, images)
    with pytest.raises(KeeprateError, match="has not been called yet"):
        _ = reduced.token_counts
    reduced(images)
    assert reduced.token_counts.shape == (3, 3)


@pytest.mark.slow
def test_what_is_checked_in_use_is_not_traced() -> None:
    reduced = keeprate.reduce(tiny_vit(), Broken(), "keep=0.7@1")
    images = images_for(reduced.model)
    with pytest.raises(KeeprateError, match="prefix tokens"):
        reduced(images)
    assert exported(reduced, images)(images).shape == (3, 5)


class Broken(Method):
    """Changes the class token."""

    name = "broken"

    def reduce(self, tokens: Tokens, attention: object, stage: Stage) -> Tokens:
        return tokens.with_x(tokens.x + 1).keep_top(tokens.size, stage.keep)


def test_a_state_dict_is_the_models_own_behind_a_prefix() -> None:
    plain = tiny_vit(seed=5)
    reduced = keeprate.reduce(plain, "tome", "r=2")
    assert list(reduced.state_dict()) == [f"model.{name}" for name in plain.state_dict()]


def test_weights_go_from_one_reduced_model_to_another_and_from_the_plain_one() -> None:
    one = keeprate.reduce(tiny_vit(seed=5), "tome", "r=2")
    other = keeprate.reduce(tiny_vit(), "random", "r=2")
    third = keeprate.reduce(tiny_vit(), "tome", "r=2")
    images = images_for(one.model)
    assert not torch.equal(third(images), one(images))
    other.load_state_dict(one.state_dict())
    third.load_state_dict(other.state_dict())
    assert torch.equal(third(images), one(images))
    third.model.load_state_dict(tiny_vit(seed=6).state_dict())
    assert torch.equal(third(images), keeprate.reduce(tiny_vit(seed=6), "tome", "r=2")(images))


def test_a_reduced_model_is_saved_and_copied_whole() -> None:
    reduced = reduced_by("zero-tprune")
    images = images_for(reduced.model)
    file = io.BytesIO()
    torch.save(reduced, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded(images), reduced(images))
    assert torch.equal(copy.deepcopy(reduced)(images), reduced(images))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("called", [True, False])
@pytest.mark.parametrize("tool", ["trace", "script"])
def test_torchscript_is_refused_with_what_to_use(tool: str, called: bool, traced: bool) -> None:
    reduced = keeprate.reduce(tiny_vit(depth=1), "tome", "r=2", trace=traced)
    images = images_for(reduced.model)
    if called:
        reduced(images)
    with pytest.raises(KeeprateError) as error:
        torch.jit.trace(reduced, images) if tool == "trace" else torch.jit.script(reduced)
    assert str(error.value).startswith(f"torch.jit.{tool}")
    assert str(error.value).endswith("Use torch.export.export, or torch.compile.")
