"""ATC, DPC-KNN and K-Medoids: their clusters equal written-out loops."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import log

import pytest
import torch

import keeprate
from keeprate import Attention, KeeprateError, Method, Needs, Stage, Tokens
from keeprate_methods.atc import ATC
from keeprate_methods.dpc_knn import DPCKNN, EPSILON
from keeprate_methods.k_medoids import KMedoids
from references import clusters as slow
from references.tiny import random_attention, random_tokens, tiny_vit

STAGE = Stage(2, 4, 12)


def check_groups(
    before: Tokens,
    after: Tokens,
    image: int,
    groups: list[list[int]],
    *,
    weighted: bool = False,
    epsilon: float = 0.0,
) -> None:
    """Compare clusters of patch tokens: who is together, sizes, and means."""
    prefix = before.num_prefix
    assert torch.equal(after.x[:, :prefix], before.x[:, :prefix])
    assert after.num_patch_tokens == len(groups)
    x = before.x[image, prefix:].tolist()
    size = before.size[image, prefix:].tolist()
    owner = after.owner[image].tolist()
    for group in groups:
        home = {owner[patch] for patch in group}
        assert len(home) == 1
        token = home.pop()
        weights = [size[i] if weighted else 1.0 for i in group]
        row = slow.mean([x[i] for i in group], weights, sum(weights) + epsilon)
        expected = torch.tensor(row, dtype=torch.float64)
        torch.testing.assert_close(after.x[image, token], expected, rtol=0, atol=1e-12)
        assert after.size[image, token] == sum(size[i] for i in group)


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("linkage", ["single", "complete", "average"])
def test_atc_clusters_as_the_reference(linkage: str, weighted: bool, prefix: int) -> None:
    method = ATC(linkage=linkage, size_weighted=weighted)
    for keep in (1, 4, 9):
        tokens = random_tokens(2, 10, prefix=prefix, sizes=True, trace=True)
        attention = random_attention(tokens)
        after = method.reduce(tokens, attention, replace(STAGE, keep=keep))
        for image in range(2):
            keys = attention.k[image, :, prefix:].mean(dim=0).tolist()
            groups = slow.agglomerated(keys, keep, linkage)
            check_groups(tokens, after, image, groups, weighted=weighted)


def test_linkages_differ() -> None:
    tokens = random_tokens(2, 20, trace=True)
    attention = random_attention(tokens)
    owners = {
        str(ATC(linkage=linkage).reduce(tokens, attention, STAGE).owner.tolist())
        for linkage in ("single", "complete", "average")
    }
    assert len(owners) == 3


def test_the_r_of_atc_removes_r_patch_tokens_in_every_block() -> None:
    reduced = keeprate.reduce(tiny_vit(), "atc", "r=3")
    assert [stage.keep for stage in reduced.stages()] == [22, 19, 16, 13]


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize(("patches", "keep", "k"), [(12, 4, 5), (12, 11, 1), (4, 1, 5), (9, 3, 99)])
def test_dpc_knn_clusters_as_the_reference(patches: int, keep: int, k: int, prefix: int) -> None:
    tokens = random_tokens(3, patches, prefix=prefix, sizes=True, trace=True)
    after = DPCKNN(k).reduce(tokens, random_attention(tokens), replace(STAGE, keep=keep))
    for image in range(3):
        groups = slow.density_clusters(tokens.x[image, prefix:].tolist(), keep, k)
        check_groups(tokens, after, image, groups, epsilon=EPSILON)


def test_density_that_no_number_holds_still_ranks() -> None:
    """exp(-mean squared distance) of tokens of norm 1e4 is 0; its logarithm is not."""
    tokens = random_tokens(1, 12, trace=True)
    tokens = tokens.with_x((tokens.x * 1e4).float())
    x = tokens.x[0, 1:].double()
    gaps = (x[:, None] - x).norm(dim=2) / x.shape[1] ** 0.5
    density = -gaps.square().sort(dim=1).values[:, :5].mean(dim=1)
    after = DPCKNN().reduce(tokens, random_attention(tokens), replace(STAGE, keep=1))
    assert density.exp().max() == 0
    assert after.num_patch_tokens == 1
    two = DPCKNN().reduce(tokens, random_attention(tokens), replace(STAGE, keep=2))
    separation = [
        min([float(gaps[i, j]) for j in range(12) if density[j] > density[i]] or [gaps.max()])
        for i in range(12)
    ]
    parts = zip(density, separation, strict=True)
    score = [float(dense) + log(apart) for dense, apart in parts]
    centres = sorted(range(12), key=lambda i: -score[i])[:2]
    check = slow.joined(x.tolist(), centres)
    owner = two.owner[0].tolist()
    assert sorted(len(group) for group in check) == sorted(map(owner.count, set(owner)))


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("variant", ["standard", "repository"])
@pytest.mark.parametrize("weights", ["attention", "equal"])
def test_k_medoids_keeps_what_the_reference_keeps(weights: str, variant: str, prefix: int) -> None:
    tokens = random_tokens(3, 14, prefix=prefix)
    attention = random_attention(tokens, sharpness=3.0)
    for iterations, keep in ((0, 4), (1, 5), (3, 3), (3, 13), (5, 1)):
        method = KMedoids(iterations, weights, variant)
        stage = replace(STAGE, keep=keep)
        attention.given_score = method.score(tokens, attention, stage)
        after = method.reduce(tokens, attention, stage)
        repository = variant == "repository"
        for image in range(3):
            x = tokens.x[image, prefix:].tolist()
            weight = [1.0] * 14
            first = slow.first_medoids(x, keep, repository)
            if weights == "attention":
                weight = attention.weights[image, :, :, prefix:].sum(dim=(0, 1)).tolist()
                first = sorted(range(14), key=lambda i: -weight[i])[:keep]
            found = slow.medoids(x, weight, first, iterations, repository)
            kept = [*range(prefix), *(prefix + i for i in found)]
            assert torch.equal(after.x[image], tokens.x[image, kept])


@pytest.mark.parametrize("cls", [DPCKNN, KMedoids])
@pytest.mark.parametrize(("depth", "after"), [(12, [2, 5, 8]), (24, [5, 11, 17])])
def test_before_blocks_3_6_9_is_after_blocks_2_5_8(
    cls: type[Method], depth: int, after: list[int]
) -> None:
    stages = keeprate.reduce(tiny_vit(depth=depth), cls(), "keep=0.5").stages()
    assert [stage.block for stage in stages] == after
    assert [stage.keep for stage in stages] == [12, 6, 3]


@pytest.mark.parametrize("method", [ATC(), DPCKNN(), KMedoids(), KMedoids(weights="equal")])
def test_tokens_that_are_all_alike_go_by_position(method: Method) -> None:
    tokens = random_tokens(2, 6, trace=True)
    tokens = tokens.with_x(torch.ones_like(tokens.x))
    keys = torch.ones(2, 3, 7, 4, dtype=torch.float64)
    attention = Attention(keys, keys, keys, 0.5, None, tokens.x, Needs.WEIGHTS)
    attention.given_score = torch.ones(2, 7, dtype=torch.float64)
    after = method.reduce(tokens, attention, replace(STAGE, keep=3))
    one, other = after.owner.tolist()
    assert one == other
    if isinstance(method, ATC):  # SciPy decides, without a look at anything but the distances
        assert set(one) == {1, 2, 3}
        return
    # the first three are centres, which the others join or give way to
    gone = 1 if isinstance(method, DPCKNN) else -1
    assert one == [1, 2, 3, gone, gone, gone]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(DPCKNN, k=0), "k must be at least 1"),
        (partial(KMedoids, iterations=-1), "iterations must not be negative"),
    ],
)
def test_impossible_parameters_are_refused(make: partial[Method], message: str) -> None:
    with pytest.raises(KeeprateError, match=message):
        make()
