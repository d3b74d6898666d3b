"""Zero-TPrune's pruning layer: every ablation keeps what a written-out layer keeps."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

import keeprate
from keeprate import Stage
from keeprate.reduction.random_numbers import uniform
from keeprate_methods.similarity import SIMILARITIES
from keeprate_methods.zero_tprune import Feature, Partition, Pattern, Similarity, ZeroTPrune
from references import pruning_layer as slow
from references import similarity as slow_similarity
from references.tiny import (
    Seen,
    attention_of,
    random_attention,
    random_tokens,
    watched,
)

CHOICES = {
    "pattern": get_args(Pattern),
    "partition": get_args(Partition),
    "feature": get_args(Feature),
    "feature_heads": ("concat", "mean"),
    "similarity": get_args(Similarity),
    "emphasis": ("every", "start", "none"),
    "heads": ("rms", "mean", "max"),
    "head_filter": (True, False),
    "v_min": (0.01, 0.1),
    "v_max": (0.7, 0.05),
    "renormalise": (True, False),
    "s_removal": (0.5, 0.0, 0.8, 3.0),
    "on_drop": ("drop", "mass", "merge"),
}


def suited(choice: dict[str, object]) -> bool:
    return not (choice.get("feature_heads") == "mean" and choice.get("feature") in ("x", "x_pre"))


def one_at_a_time() -> Iterator[dict[str, object]]:
    """Every pattern with every partition and treatment of dropped tokens, then each other value."""
    for pattern in CHOICES["pattern"]:
        for partition in CHOICES["partition"]:
            yield {"pattern": pattern, "partition": partition}
        for on_drop in ("mass", "merge"):
            yield {"pattern": pattern, "on_drop": on_drop}
    for name in ("feature", "feature_heads", "similarity", "emphasis", "heads"):
        yield from ({name: value} for value in CHOICES[name][1:])
    for name in ("head_filter", "v_min", "v_max", "renormalise", "s_removal"):
        yield from ({name: value} for value in CHOICES[name][1:])


def mixtures(number: int) -> Iterator[dict[str, object]]:
    drawn = random.Random(0)
    while number:
        choice = {name: drawn.choice(values) for name, values in CHOICES.items()}
        if suited(choice):
            number -= 1
            yield choice


COMBINATIONS = [*one_at_a_time(), *mixtures(60)]


def label(choice: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in choice.items())


def features_of(method: ZeroTPrune, seen: Seen, image: int) -> list[list[float]]:
    """Return one vector per token, written out head by head."""
    if method.feature in ("x", "x_pre"):
        x = seen.tokens.x if method.feature == "x" else seen.attention.x_pre
        return x[image].tolist()
    per_head = {"key": seen.attention.k, "query": seen.attention.q, "value": seen.attention.v}
    heads = per_head[method.feature][image].tolist()
    tokens = []
    for position in range(seen.tokens.count):
        vectors = [head[position] for head in heads]
        if method.feature_heads == "concat":
            tokens.append([number for vector in vectors for number in vector])
        else:
            tokens.append([sum(numbers) / len(heads) for numbers in zip(*vectors, strict=True)])
    return tokens


def settings_of(method: ZeroTPrune, stage: Stage) -> slow.Settings:
    iterations = method.iterations
    if len(iterations) == 3:
        relative = stage.block / stage.depth
        third = 0 if relative < 1 / 4 else 1 if relative < 3 / 4 else 2
        iterations = (iterations[third],)
    return slow.Settings(
        pattern=method.pattern,
        iterations=iterations[0],
        emphasis=method.emphasis,
        heads=method.heads,
        head_filter=method.head_filter,
        v_min=method.v_min,
        v_max=method.v_max,
        partition=method.partition,
        similarity=method.similarity,
        s_removal=method.s_removal,
        renormalise=method.renormalise,
    )


def compare(method: ZeroTPrune, seen: Seen) -> None:
    """Check one call of a pruning layer, image by image."""
    tokens, stage = seen.tokens, seen.stage
    draws = uniform(tokens.image, tokens.count, seed=method.seed, stream=stage.block)
    for number in range(len(tokens.x)):
        image = slow.Image(
            weights=attention_of(seen.attention, number),
            features=features_of(method, seen, number),
            num_prefix=tokens.num_prefix,
            has_class_token=tokens.has_class_token,
            draws=draws[number].tolist(),
        )
        kept = slow.survivors(image, settings_of(method, stage), stage.keep)
        x, size = tokens.x[number].tolist(), tokens.size[number].tolist()
        if method.on_drop == "drop":
            x, size = [x[token] for token in kept], [size[token] for token in kept]
        else:
            average = method.on_drop == "merge"
            x, size = slow.absorbed(
                x, size, image.features, kept, tokens.num_prefix, average=average
            )
        assert seen.after.size[number].tolist() == size
        torch.testing.assert_close(
            seen.after.x[number], torch.tensor(x, dtype=torch.float64), rtol=0, atol=1e-11
        )


@pytest.mark.sample(6)
@pytest.mark.parametrize("choice", COMBINATIONS, ids=label)
def test_every_ablation_equals_the_reference_inside_a_model(
    vit: nn.Module, vit_images: Tensor, choice: dict[str, object]
) -> None:
    method = ZeroTPrune(iterations=(4, 3, 1), **choice)
    reduced = keeprate.reduce(vit, method, "17@0,12@2,9@3", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(vit_images)
    assert [call.stage.block for call in calls] == [0, 2, 3]
    for call in calls:
        compare(method, call)


@pytest.mark.sample(40)
@pytest.mark.parametrize("choice", COMBINATIONS[::6], ids=label)
@pytest.mark.parametrize(
    ("prefix", "has_class_token", "patches"),
    [(0, False, 12), (1, True, 11), (1, False, 12), (2, True, 13), (5, True, 9)],
)
def test_any_prefix_and_any_number_of_patches_equal_the_reference(
    choice: dict[str, object], prefix: int, has_class_token: bool, patches: int
) -> None:
    from dataclasses import replace

    method = ZeroTPrune(**choice)
    tokens = random_tokens(2, patches, prefix=prefix, sizes=True)
    tokens = replace(tokens, has_class_token=has_class_token)
    attention = random_attention(tokens, sharpness=1.5)
    stage = Stage(block=5, keep=patches - 4, depth=12)
    attention.given_score = method.score(tokens, attention, stage)
    compare(method, Seen(tokens, attention, stage, method.reduce(tokens, attention, stage)))


def test_features_are_those_of_the_block_just_run(vit: nn.Module, vit_images: Tensor) -> None:
    method = ZeroTPrune(feature="x")
    reduced = keeprate.reduce(vit, method, "17@1")
    inputs, outputs = {}, {}
    block = reduced.model.blocks[1]
    block.norm1.register_forward_hook(lambda module, args, out: inputs.update(x_pre=out))
    block.attn.qkv.register_forward_hook(lambda module, args, out: inputs.update(qkv=out))
    block.mlp.register_forward_hook(lambda module, args, out: outputs.update(mlp=out))
    block.norm2.register_forward_pre_hook(lambda module, args: outputs.update(middle=args[0]))
    with torch.inference_mode(), watched(method) as (calls):
        reduced(vit_images)
    (call,) = calls
    q, k, v = inputs["qkv"].reshape(2, 26, 3, 3, 8).permute(2, 0, 3, 1, 4)
    assert torch.equal(call.attention.x_pre, inputs["x_pre"])
    assert torch.equal(call.attention.q, q)
    assert torch.equal(call.attention.k, k)
    assert torch.equal(call.attention.v, v)
    assert torch.equal(call.tokens.x, outputs["middle"] + outputs["mlp"])


def test_the_traced_survivors_are_the_tokens_the_reference_keeps(
    vit: nn.Module, vit_images: Tensor
) -> None:
    method = ZeroTPrune()
    reduced = keeprate.reduce(vit, method, "17@1", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(vit_images)
    (survivors,) = reduced.survivors
    for number, owner in enumerate(survivors.owner.tolist()):
        image = slow.Image(
            attention_of(calls[0].attention, number),
            features_of(method, calls[0], number),
            1,
            True,
            [],
        )
        kept = slow.survivors(image, settings_of(method, calls[0].stage), 17)
        expected = [kept.index(patch + 1) if patch + 1 in kept else -1 for patch in range(25)]
        assert owner == expected


def test_the_head_filter_really_filters_in_these_models(vit: nn.Module, vit_images: Tensor) -> None:
    outcomes = []
    for head_filter in (True, False):
        reduced = keeprate.reduce(
            vit, "zero-tprune", "keep=0.5@0,2", pattern="I", head_filter=head_filter
        )
        with torch.inference_mode():
            outcomes.append(reduced(vit_images))
    assert not torch.allclose(*outcomes)


def test_cosine_by_hand() -> None:
    a, b = torch.tensor([[[0.5, 0.2, -0.1]]]), torch.tensor([[[0.4, 0.3, 0.0]]])
    assert round(float(SIMILARITIES["cosine"](a, b)), 4) == 0.9494
    assert round(slow_similarity.cosine([0.5, 0.2, -0.1], [0.4, 0.3, 0.0]), 4) == 0.9494


@pytest.mark.parametrize("name", get_args(Similarity))
def test_every_similarity_equals_the_written_out_one(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    b = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    expected = [
        [[slow_similarity.SIMILARITIES[name](x, y) for y in ys] for x in xs]
        for xs, ys in zip(a.tolist(), b.tolist(), strict=True)
    ]
    torch.testing.assert_close(
        SIMILARITIES[name](a, b), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.sample(20)
@pytest.mark.parametrize("pattern", get_args(Pattern))
@pytest.mark.parametrize("partition", get_args(Partition))
@pytest.mark.parametrize("patches", [9, 10])
def test_a_stage_can_remove_as_much_as_the_method_promises(
    pattern: str, partition: str, patches: int
) -> None:
    method = ZeroTPrune(pattern=pattern, partition=partition)
    most = method.most_removed(patches)
    tokens = random_tokens(3, patches)
    attention = random_attention(tokens)
    stage = Stage(3, patches - most, 12)
    attention.given_score = method.score(tokens, attention, stage)
    compare(method, Seen(tokens, attention, stage, method.reduce(tokens, attention, stage)))
