"""What a method carries along goes where its images and tokens go, and nowhere else."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

import keeprate
from broken_habits import KeyAverage, StaleState
from keeprate import Attention, KeeprateError, Method, Stage, Tokens
from keeprate.backbones.lookup import adapt
from keeprate.reduction.plan import make_plan
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.reduction.shared_forward import SharedForward
from keeprate.tokens import IMAGE_FIELDS, TOKEN_FIELDS
from references.tiny import images_for, random_tokens, tiny_vit


def carrying(batch: int = 3, patches: int = 4) -> Tokens:
    """Tokens in which every field is there and numbers tell images and tokens apart."""
    tokens = random_tokens(batch, patches, sizes=True, trace=True)
    places = torch.arange(batch * tokens.count).reshape(batch, -1)
    tokens = replace(tokens, valid=places % 7 != 6, position=places)
    tokens = tokens.with_state(name=torch.arange(batch), pair=torch.rand(batch, 2))
    tokens = tokens.with_token_state(place=places, vector=torch.rand(*places.shape, 2, 3))
    return replace(tokens, aside=replace(tokens, owner=None))


def each_tensor(tokens: Tokens, names: tuple[str, ...]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in (getattr(tokens, name) for name in names):
        if isinstance(value, Tokens):  # what is aside has no owner
            found += each_tensor(value, ("x", "size", "position", "valid", "token_state"))
        else:
            found += [value] if isinstance(value, Tensor) else value.values()
    return found


def test_every_tensor_of_the_tokens_is_in_the_table() -> None:
    kinds = ("Tensor", "State", "Tokens")
    tensors = {f.name for f in fields(Tokens) if any(kind in f.type for kind in kinds)}
    assert tensors == set(IMAGE_FIELDS)
    assert set(TOKEN_FIELDS) < set(IMAGE_FIELDS)


def test_fresh_tokens_carry_nothing() -> None:
    tokens = random_tokens()
    assert dict(tokens.state) == dict(tokens.token_state) == {}


def test_images_take_along_what_is_theirs() -> None:
    tokens = carrying()
    part = tokens.rows(slice(1, 3))
    for whole, some in zip(
        each_tensor(tokens, IMAGE_FIELDS), each_tensor(part, IMAGE_FIELDS), strict=True
    ):
        assert torch.equal(some, whole[1:])


def test_a_copy_shares_no_tensor() -> None:
    tokens = carrying()
    copied = tokens.copy()
    before, after = each_tensor(tokens, IMAGE_FIELDS), each_tensor(copied, IMAGE_FIELDS)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)
        assert one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr()


def test_tokens_that_are_kept_take_along_what_is_theirs() -> None:
    tokens = carrying()
    index = torch.tensor([[0, 3, 1], [0, 1, 4], [0, 2, 3]])
    rows = torch.arange(3)[:, None]
    for name, before in tokens.token_state.items():
        assert torch.equal(tokens.keep(index).token_state[name], before[rows, index]), name
    kept = tokens.keep_top(torch.rand(3, 5), 2)
    assert torch.equal(kept.token_state["place"], kept.position)
    assert kept.state is tokens.state


def test_a_token_that_others_merge_into_keeps_what_it_carries() -> None:
    tokens = carrying(1)
    order = torch.tensor([[0, 4, 3]])
    merged = tokens.merge(torch.tensor([[1, 2]]), torch.tensor([[3, 4]]), order)
    assert merged.token_state["place"].tolist() == [[0, 4, 3]]
    assert torch.equal(merged.token_state["vector"][0], tokens.token_state["vector"][0, [0, 4, 3]])
    assert merged.state is tokens.state


def test_a_later_tensor_takes_the_place_of_an_earlier_one_of_its_name() -> None:
    tokens = carrying()
    again = tokens.with_state(name=torch.zeros(3)).with_token_state(other=torch.zeros(3, 5))
    assert sorted(again.state) == ["name", "pair"]
    assert again.state["name"].tolist() == [0.0] * 3
    assert sorted(again.token_state) == ["other", "place", "vector"]
    assert tokens.state["name"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.complex64])
def test_what_is_carried_keeps_its_type(dtype: torch.dtype) -> None:
    tokens = random_tokens().with_token_state(mine=torch.ones(2, 13, 3, dtype=dtype))
    half = tokens.with_x(tokens.x.half()).keep_top(tokens.size, 5)
    assert half.token_state["mine"].dtype is dtype
    assert half.token_state["mine"].shape == (2, 6, 3)


def test_nothing_is_written_into_a_state() -> None:
    state = carrying().state
    with pytest.raises(TypeError, match="does not support item assignment"):
        state["name"] = torch.zeros(3)


def test_tokens_with_a_state_are_pickled_and_copied() -> None:
    tokens = carrying()
    for twin in (pickle.loads(pickle.dumps(tokens)), copy.deepcopy(tokens)):
        assert torch.equal(twin.state["pair"], tokens.state["pair"])
    assert repr(random_tokens().state) == "MethodState({})"


WRONG: list[tuple[Callable[[Tokens], Tokens], str]] = [
    (
        lambda tokens: tokens.with_state(mine=3),
        "tokens.with_state: mine must be a tensor, not a int: what is the same for all images is a "
        "parameter of the method",
    ),
    (
        lambda tokens: tokens.with_state(mine=torch.ones(())),
        "tokens.with_state: mine must have one row for each image, (B, ...): a shape that begins "
        "with (3,), not ()",
    ),
    (
        lambda tokens: tokens.with_state(mine=torch.ones(1, 4)),
        "tokens.with_state: mine must have one row for each image, (B, ...): a shape that begins "
        "with (3,), not (1, 4)",
    ),
    (
        lambda tokens: tokens.with_token_state(mine=torch.ones(3, 25)),
        "tokens.with_token_state: mine must have one row for each token, prefix tokens included, "
        "(B, N, ...): a shape that begins with (3, 26), not (3, 25)",
    ),
    (
        lambda tokens: tokens.with_state(mine=torch.ones(3, device="meta")),
        "tokens.with_state: mine is on meta, the tokens are on cpu: make it with "
        "device=tokens.x.device",
    ),
]


class Carries(Method):
    """Carries what it is told to."""

    name = "carries"

    def __init__(self, change: Callable[[Tokens], Tokens]) -> None:
        self.change = change

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return self.change(tokens).keep_top(tokens.size, stage.keep)


def refusal(method: Method) -> str:
    model = keeprate.reduce(tiny_vit(), method, "keep=0.7@1,2")
    with pytest.raises(KeeprateError) as caught:
        model(images_for(model.model))
    return str(caught.value)


@pytest.mark.parametrize(("change", "says"), WRONG)
def test_a_wrong_state_is_refused_where_it_is_set(
    change: Callable[[Tokens], Tokens], says: str
) -> None:
    told = refusal(Carries(change))
    assert told.startswith(f"Method 'carries' at block 1: reduce: {says} ({__file__}:"), told


def test_a_name_that_is_no_text_is_refused() -> None:
    told = refusal(Carries(lambda tokens: tokens.with_state(**{1: tokens.image})))
    assert "Method 'carries' at block 1: reduce raised TypeError: keywords must be strings" in told
    assert f"({__file__}:" in told


@pytest.mark.parametrize("name", ["state", "token_state"])
def test_a_state_made_by_hand_is_refused(name: str) -> None:
    told = refusal(Carries(lambda tokens: replace(tokens, **{name: {"mine": 3}})))
    assert "'carries' at block 1 " in told
    assert f"returned tokens whose {name} is a dict" in told
    assert told.endswith(f"Return tokens.with_{name}(NAME=TENSOR).")


def test_a_state_of_other_tokens_is_refused() -> None:
    told = refusal(StaleState())
    assert (
        "'stale-state' at block 1 returned token_state['average'] (3, 26) for tokens (3, 18)"
        in told
    )
    assert "broken_habits.py:" in told


class Returns(Carries):
    """Returns what it is told to."""

    name = "returns-it"

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        return self.change(tokens)


def test_tokens_dropped_by_hand_may_not_forget_what_they_carry() -> None:
    def by_hand(tokens: Tokens) -> Tokens:
        carrying = tokens.with_token_state(mine=tokens.size)
        return replace(carrying, x=tokens.x[:, :18], size=tokens.size[:, :18])

    assert "token_state['mine'] (3, 26) for tokens (3, 18)" in refusal(Returns(by_hand))


def test_a_method_that_keeps_something_in_itself_is_told_where_to() -> None:
    class Remembers(KeyAverage):
        """Remembers the last score."""

        name = "remembers"

        def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
            self.last = attention.score
            return super().reduce(tokens, attention, stage)

    models = {"it": keeprate.reduce(tiny_vit(), Remembers(), "keep=0.7@1,2")}
    images = images_for(models["it"].model)
    failed = SharedForward(models)(images, torch.arange(3), ["it"]).failed
    assert "What it carries from one stage to the next goes with the tokens" in failed["it"].error


def by_hand(model: ReducedModel, images: Tensor) -> Tensor:
    """The average after the second stage, of every patch that is left, image by image."""
    scores: list[tuple[Tensor, Tensor]] = []
    model.watch = lambda tokens, attention, stage: scores.append((tokens.x, attention.k))
    model(images)
    model.watch = None
    first, second = (keys.norm(dim=-1).mean(dim=1) for _, keys in scores)
    found = []
    for one, two in zip(first, second, strict=True):
        best = sorted(range(1, len(one)), key=lambda place: -float(one[place]))[: len(two) - 1]
        kept = [0, *sorted(best)]
        found.append(
            [0.5 * float(one[old]) + 0.5 * float(two[new]) for new, old in enumerate(kept)]
        )
    return torch.tensor(found)


def test_an_average_over_stages_is_that_of_the_same_token() -> None:
    model = keeprate.reduce(tiny_vit(), KeyAverage(), "keep=0.7,0.5@1,2")
    images = images_for(model.model)
    averages: list[Tensor] = []
    with torch.inference_mode():
        expected = by_hand(model, images)
        model.watch = lambda tokens, attention, stage: averages.append(attention.score)
        model(images)
    torch.testing.assert_close(averages[1], expected)


def test_runs_that_share_blocks_do_not_share_what_they_carry() -> None:
    backbone = adapt(tiny_vit())
    schedules = ("keep=0.7@0,1", "keep=0.7@0,2", "keep=0.7,0.5@0,1", "keep=0.7@1,2")
    models = {
        schedule: ReducedModel(backbone, make_plan(backbone, KeyAverage(), schedule, None))
        for schedule in schedules
    }
    images, index = images_for(backbone.model), torch.arange(3)
    with torch.inference_mode():
        together = SharedForward(models)(images, index, list(models))
        assert together.failed == {}
        for name, model in models.items():
            assert torch.equal(together.logits[name], model(images, index)), name


@pytest.mark.slow
def test_a_method_that_carries_something_is_exported() -> None:
    model = keeprate.reduce(tiny_vit(), KeyAverage(), "keep=0.7@1,2")
    images, others = images_for(model.model), images_for(model.model, 5, seed=3)
    shapes = ({0: torch.export.Dim("batch", min=2)},)
    program = torch.export.export(model, (images,), dynamic_shapes=shapes).module()
    torch.testing.assert_close(program(others), model(others))


@pytest.mark.slow
def test_a_method_that_carries_something_is_compiled() -> None:
    model = keeprate.reduce(tiny_vit(), KeyAverage(), "keep=0.7@1,2")
    images = images_for(model.model)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager")
        torch.testing.assert_close(compiled(images), model(images))
