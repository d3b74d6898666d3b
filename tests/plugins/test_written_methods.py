"""Methods a user writes: broken promises are named, images may keep different numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import keeprate
from keeprate import Attention, KeeprateError, Method, Needs, Place, Shape, Stage, Tokens
from references.tiny import images_for, random_attention, random_tokens, tiny_vit


@pytest.fixture
def vit() -> nn.Module:
    return tiny_vit().double()


class Careless(Method):
    """Returns what it is told to, whatever the stage asks for."""

    name = "careless"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return self.answer(tokens) if callable(self.answer) else self.answer


def first(tokens: Tokens, count: int) -> Tokens:
    return tokens.keep(torch.arange(count).expand(len(tokens.x), -1))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda t: first(t, 10), "kept 9 patch tokens where 12 were scheduled."),
        (lambda t: t, "kept 25 patch tokens where 12 were scheduled."),
        (lambda t: t.x[:, :13], "returned a Tensor, not Tokens."),
        (None, "returned a NoneType, not Tokens."),
        (
            lambda t: first(t, 13).rows(slice(1, 2)),
            "changed the number of images or prefix tokens.",
        ),
        (
            lambda t: replace(first(t, 13), num_prefix=0),
            "changed the number of images or prefix tokens.",
        ),
    ],
)
def test_a_method_that_breaks_its_promise_is_named(
    vit: nn.Module, answer: object, message: str
) -> None:
    reduced = keeprate.reduce(vit, Careless(answer), "12@1")
    with pytest.raises(KeeprateError) as refused:
        reduced(images_for(vit))
    said = f"Method 'careless' at block 1 {message.removesuffix('.')} ({Path(__file__)}:"
    assert str(refused.value).startswith(said)


def test_a_method_that_implements_nothing_says_so(vit: nn.Module) -> None:
    class Nothing(Method):
        name = "nothing"

    with pytest.raises(KeeprateError, match=r"'nothing' implements neither score nor reduce\. Def"):
        keeprate.reduce(vit, Nothing(), "12@1")


def test_a_score_that_was_not_given_is_explained() -> None:
    with pytest.raises(KeeprateError, match=r"here is none: .* call tokens\.keep_top\(score, "):
        _ = random_attention(random_tokens()).score


@pytest.mark.parametrize(
    ("needs", "what"),
    [(Needs.NOTHING, "weights"), (Needs.CLASS_ROW, "weights"), (Needs.KEYS, "class_row")],
)
def test_attention_that_was_not_declared_cannot_be_read(needs: Needs, what: str) -> None:
    attention = random_attention(random_tokens())
    attention.needs = needs
    with pytest.raises(KeeprateError) as refused:
        getattr(attention, what)
    declared = {"weights": "WEIGHTS", "class_row": "CLASS_ROW"}[what]
    assert str(refused.value) == (
        f"attention.{what} was read by a method that declares needs = {needs.name}; "
        f"declare needs = Needs.{declared}."
    )


class Scored(Method):
    """Scores as it is told to."""

    name = "scored"
    needs = Needs.WEIGHTS

    def __init__(self, answer: Callable[[Tokens], object]) -> None:
        self.answer = answer

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return self.answer(tokens)


@pytest.mark.parametrize("needs", [Needs.KEYS, Needs.WEIGHTS], ids=lambda n: n.name)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda t: t.size[:, 1:], "must be one number per token, prefix tokens included, "),
        (lambda t: t.size.mean(), "must be one number per token, prefix tokens included, "),
        (lambda t: None, "must be one number per token, prefix tokens included, "),
        (lambda t: t.size * torch.nan, "is not a number (NaN) for some tokens, the first token 0 "),
    ],
    ids=["no prefix", "scalar", "none", "nan"],
)
def test_a_score_that_is_none_is_refused(
    vit: nn.Module, needs: Needs, answer: Callable[[Tokens], object], message: str
) -> None:
    method = Scored(answer)
    method.needs = needs
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(vit, method, "12@1")(images_for(vit))
    assert str(refused.value).startswith(f"Method 'scored' at block 1: score {message}")


def test_a_method_that_loses_the_class_token_is_named(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, Careless(lambda t: t.keep(t.top(t.size, 12)[0] + 1)), "12@1")
    with pytest.raises(KeeprateError, match="dropped, moved or changed prefix tokens"):
        reduced(images_for(vit))


def test_methods_compute_as_written_even_under_autocast(vit: nn.Module) -> None:
    seen = []

    def product(tokens: Tokens) -> Tensor:
        seen.append((tokens.size @ tokens.size.T).dtype)
        return tokens.size

    reduced = keeprate.reduce(vit.float(), Scored(product), "12@1")
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        reduced(images_for(vit.float()))
    assert set(seen) == {torch.float32}


class LongKeys(Method):
    """Keeps patch tokens whose keys are longer than the image's average, at most `stage.keep`.

    Images keep different numbers; the tokens of shorter ones are padded and marked as not valid.
    """

    name = "long-keys"
    needs = Needs.CLASS_ROW
    keeps_per_image = True

    def __init__(self, place: Place) -> None:
        self.place = place

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return attention.k.square().sum(dim=(1, 3))

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        kept = [self.kept_of(tokens, attention, stage, i) for i in range(len(tokens.x))]
        longest = max(len(row) for row in kept)
        index = torch.tensor([row + [0] * (longest - len(row)) for row in kept])
        valid = torch.tensor([[i < len(row) for i in range(longest)] for row in kept])
        return tokens.keep(index, valid)

    def kept_of(self, tokens: Tokens, attention: Attention, stage: Stage, image: int) -> list[int]:
        score, prefix = attention.score[image], tokens.num_prefix
        patches = torch.arange(prefix, tokens.count)
        if tokens.valid is not None:
            patches = patches[tokens.valid[image, prefix:]]
        longer = patches[score[patches] >= score[patches].mean()]
        return [*range(prefix), *longer[: stage.keep].tolist()]


POOLED = ["vit_base_patch16_siglip_gap_224", "vit_base_patch16_siglip_224", "max"]
CLASS_TOKEN = ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"]


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize(
    ("name", "empty_last_mlp"),
    [(name, False) for name in POOLED + CLASS_TOKEN] + [(name, True) for name in CLASS_TOKEN],
)
def test_images_that_keep_different_numbers_are_as_if_each_ran_alone(
    name: str, place: Place, empty_last_mlp: bool
) -> None:
    options = {"global_pool": "max"} if name == "max" else {}
    model = tiny_vit("vit_tiny_patch16_224" if name == "max" else name, **options).double()
    images = images_for(model, batch=4)
    reduced = keeprate.reduce(
        model, LongKeys(place), "20@0,15@1,12@3", empty_last_mlp=empty_last_mlp
    )
    with torch.inference_mode():
        together = reduced(images)
        counts, spent = reduced.token_counts, reduced.macs_per_image.total
        for number in range(4):
            alone = reduced(images[number : number + 1])
            torch.testing.assert_close(together[number], alone[0], rtol=1e-9, atol=1e-9)
            assert torch.equal(reduced.token_counts[0], counts[number])
            assert reduced.macs_per_image.total[0] == spent[number]
    assert len(set(spent.tolist())) > 1
    with pytest.raises(KeeprateError, match="keeps a different number of tokens in every image"):
        reduced.costs()


class Costly(LongKeys):
    """Long keys again, at one product per patch token it looks at."""

    name = "costly"

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        return shape.patches


def test_overhead_is_each_image_s_own_whatever_the_batch(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, Costly(Place.AFTER_BLOCK), "20@0,15@1")
    images = images_for(vit)
    reduced(images)
    together = reduced.macs_per_image.overhead.tolist()
    alone = []
    for image in images:
        reduced(image[None])
        alone += reduced.macs_per_image.overhead.tolist()
    assert together == alone
    assert len(set(together)) > 1


class Hoarder(LongKeys):
    """Keeps everything, whatever is scheduled."""

    name = "hoarder"

    def kept_of(self, tokens: Tokens, attention: Attention, stage: Stage, image: int) -> list[int]:
        return list(range(tokens.count))


def test_a_method_that_keeps_more_than_the_most_allowed_is_named(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, Hoarder(Place.AFTER_BLOCK), "12@1")
    with pytest.raises(KeeprateError) as refused:
        reduced(images_for(vit))
    assert str(refused.value).startswith(
        "Method 'hoarder' at block 1 kept 25 patch tokens where at most 12 were scheduled ("
    )
