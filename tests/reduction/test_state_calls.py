"""What a method does besides scoring and reducing: it prepares, observes and reweighs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import keeprate
from broken_methods import KeyNorm
from keeprate import Attention, KeeprateError, Method, Needs, Place, Stage, Tokens
from keeprate.backbones.lookup import adapt
from keeprate.reduction.plan import make_plan
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.reduction.shared_forward import SharedForward, shared_macs
from keeprate_methods.tome import ToMe
from references.tiny import images_for, tiny_vit
from seam_methods import (
    ByHand,
    Drawn,
    Drops,
    Early,
    Fails,
    Forgets,
    Half,
    Keyed,
    Moves,
    Nearest,
    OneRow,
    PatchKeys,
    Reweighed,
    Rows,
)

SCHEDULE = "11@1,6@3"


def logits(model: nn.Module, method: Method, schedule: str = SCHEDULE) -> Tensor:
    with torch.inference_mode():
        found: Tensor = keeprate.reduce(model, method, schedule)(images_for(model))
    return found


def test_what_was_prepared_goes_with_the_tokens(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, Nearest(), SCHEDULE)
    seen: list[Tensor] = []
    reduced.watch = lambda tokens, attention, stage: seen.append(tokens.token_state["first"])
    with torch.inference_mode():
        reduced(images_for(vit))
        embedded = adapt(vit).embed(images_for(vit))
    first, second = seen
    assert torch.equal(first, embedded)
    assert second.shape[1] == 12
    assert all(bool((embedded[i] == row).all(1).any()) for i in range(3) for row in second[i])
    assert reduced.costs().overhead == reduced.macs_per_image.overhead.tolist()[0] == 26 * 24


@pytest.mark.parametrize("place", Place)
def test_every_block_is_observed_before_it_is_reduced(vit: nn.Module, place: Place) -> None:
    calls: list[tuple[int, int]] = []

    class Noting(Drawn):
        name = "noting"

        def observe(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
            calls.append((stage.block, stage.keep))
            return super().observe(tokens, attention, stage)

    reduced = keeprate.reduce(vit, Noting(place), SCHEDULE)
    blocks: list[list[float]] = []
    reduced.watch = lambda tokens, attention, stage: blocks.append(tokens.state["blocks"].tolist())
    with torch.inference_mode():
        reduced(images_for(vit))
    assert calls == [(0, 25), (1, 11), (2, 11), (3, 6)]
    assert blocks == [[2.0] * 3, [4.0] * 3]
    assert reduced.macs_per_image.total.tolist() == [reduced.costs().total] * 3
    counted = 3 * (26**2 + 26**2 + 12**2 + 12**2)
    if place is not Place.BEFORE_BLOCK:  # where the look ahead is counted as well
        assert reduced.costs().overhead == counted


def test_observing_changes_nothing_where_nothing_goes(vit: nn.Module) -> None:
    keep = "25@1"
    torch.testing.assert_close(logits(vit, Drawn(), keep), logits(vit, KeyNorm(), keep))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Moves, "Method 'moves': prepare returned tokens with another x ("),
        (ByHand, "Method 'by-hand': prepare returned tokens with another context ("),
        (Drops, "Method 'drops' at block 0: observe returned tokens with another x ("),
        (Forgets, "Method 'forgets' at block 0: observe returned a NoneType, not Tokens ("),
        (Fails, "Method 'fails' at block 0: observe raised ValueError: nothing to see ("),
        (Half, "Method 'half': reweigh must return torch.float64 weights (3, 3, 26, 26) ("),
        (OneRow, "Method 'one-row': reweigh must return torch.float64 weights (3, 3, 26, 26) ("),
        (
            PatchKeys,
            "Method 'patch-keys': key_weights must return one number for each token, (3, 26), or "
            "None (",
        ),
    ],
)
def test_what_may_not_be_is_told_with_its_line(
    vit: nn.Module, method: type[Method], said: str
) -> None:
    with pytest.raises(KeeprateError) as refused:
        logits(vit, method())
    assert str(refused.value).startswith(said)
    assert "seam_methods.py:" in str(refused.value)


def test_weights_that_are_left_as_they_are_change_nothing(vit: nn.Module) -> None:
    unchanged = logits(vit, Reweighed(2.0))
    torch.testing.assert_close(unchanged, logits(vit, KeyNorm(2.0)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("needs", Needs)
def test_a_method_reads_the_weights_that_it_reweighed(vit: nn.Module, needs: Needs) -> None:
    class Itself(Method):
        """Lets every token attend to itself alone."""

        name = "itself"
        reweighs = True

        def reweigh(self, weights: Tensor, tokens: Tokens) -> Tensor:
            return torch.eye(weights.shape[3], dtype=weights.dtype).expand_as(weights)

        def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
            if self.needs is Needs.WEIGHTS:
                assert torch.equal(attention.weights[0, 0].diagonal(), torch.ones(26).double())
            if self.needs >= Needs.CLASS_ROW:
                assert attention.class_row[0, 0].tolist() == [1.0] + [0.0] * 25
            return tokens.size

    method = Itself()
    method.needs = needs
    images = images_for(vit)
    with torch.inference_mode():
        x = vit._pos_embed(vit.patch_embed(images))
        for number, block in enumerate(vit.blocks):
            value = block.attn.qkv(block.norm1(x)).unflatten(2, (3, 24))[:, :, 2]
            x = x + block.attn.proj(value)
            x = x[:, :12] if number == 1 else x
            x = x + block.mlp(block.norm2(x))
        expected = vit.forward_head(vit.norm(x))
    torch.testing.assert_close(logits(vit, method, "11@1"), expected, rtol=1e-9, atol=1e-9)


def test_sizes_as_key_weights_are_proportional_attention(vit: nn.Module) -> None:
    class Sized(ToMe):
        name = "sized"

        def key_weights(self, tokens: Tokens) -> Tensor | None:
            return tokens.size if tokens.has_merged else None

    sized = logits(vit, Sized(proportional_attention=False), "r=4")
    assert torch.equal(sized, logits(vit, ToMe(), "r=4"))
    assert not torch.allclose(sized, logits(vit, ToMe(proportional_attention=False), "r=4"))


def test_shared_runs_give_the_bits_they_give_alone() -> None:
    vit = tiny_vit()
    backbone = adapt(vit)
    methods = [
        KeyNorm(),
        Nearest(),
        Nearest(2.0),
        Drawn(),
        Drawn(Place.BEFORE_BLOCK),
        Reweighed(2.0),
        Reweighed(3.0),
        Keyed(),
        Early(),
        Rows(),
    ]
    models = {
        f"{number} {schedule}": ReducedModel(backbone, make_plan(backbone, method, schedule, None))
        for number, method in enumerate(methods)
        for schedule in (SCHEDULE, "11@1", "25@1")
    }
    images, index = images_for(vit), torch.arange(3, 6)
    with torch.inference_mode():
        found = SharedForward(models)(images, index, list(models))
        assert found.failed == {}
        spent = {name: model.macs_per_image.total for name, model in models.items()}
        for name, model in models.items():
            assert torch.equal(found.logits[name], model(images, index)), name
            assert torch.equal(spent[name], model.macs_per_image.total), name


@pytest.mark.parametrize("method", [Nearest(), Drawn(), Rows(), Keyed()])
def test_what_runs_together_costs_counts_all_that_a_method_does(method: Method) -> None:
    backbone = adapt(tiny_vit())
    one, other, plain = (
        ReducedModel(backbone, make_plan(backbone, *run, None))
        for run in ((method, SCHEDULE), (method, "11@1"), (KeyNorm(), SCHEDULE))
    )
    size = backbone.image_size
    assert shared_macs([one], size) == one.costs().total
    together = shared_macs([one, other], size)
    # from block 3 on, and two heads
    assert one.costs().total < together < one.costs().total + other.costs().total
    apart = shared_macs([one, plain], size) + backbone.embed_macs(size)
    shares = isinstance(method, Rows)  # nothing else is as the others' from the first block on
    assert (apart == one.costs().total + plain.costs().total) is not shares


@pytest.mark.slow
@pytest.mark.parametrize("method", [Nearest(), Drawn(), Reweighed(3.0), Keyed()])
def test_compiling_changes_nothing(method: Method) -> None:
    model = keeprate.reduce(tiny_vit(), method, SCHEDULE)
    images = images_for(model.model)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager")
        torch.testing.assert_close(compiled(images), model(images))
