"""Zero-TPrune's pruning layer for one image, written out on lists of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .page_rank import Matrix, heads_that_count, one_score_per_token, page_rank_of_head
from .similarity import SIMILARITIES, Vector


@dataclass
class Image:
    """One image at one layer: attention of each head, feature and size of each token.

    `draws` are the random numbers that order the tokens where no I'-stage does.
    """

    weights: list[Matrix]
    features: list[Vector]
    num_prefix: int
    has_class_token: bool
    draws: list[float]

    @property
    def count(self) -> int:
        return len(self.features)


@dataclass
class Settings:
    """What the layer is asked to do; the defaults are those of the specification."""

    pattern: str = "I'-S-I"
    iterations: int = 5
    emphasis: str = "every"
    heads: str = "rms"
    head_filter: bool = True
    v_min: float = 0.01
    v_max: float = 0.7
    partition: str = "sequential-u"
    similarity: str = "cosine"
    s_removal: float = 0.5
    renormalise: bool = True
    tolerance: float | None = None


def survivors(image: Image, settings: Settings, keep: int) -> list[int]:
    """Return the positions left, ascending, prefix tokens first."""
    alive = list(range(image.count))
    rank: list[float] | None = None
    patches = image.count - image.num_prefix
    removals = split_removal(settings, patches, keep)
    for part in settings.pattern.split("-"):
        if part == "I'":
            rank = importance(image, settings, alive, iterations=1)
        elif part == "S":
            gone = similar_ones(image, settings, alive, rank, removals["S"])
            alive = [token for token in alive if token not in gone]
        else:
            score = importance(image, settings, alive, settings.iterations)
            order = best_first(alive[image.num_prefix :], score)
            gone = order[len(order) - removals["I"] :]
            alive = [token for token in alive if token not in gone]
    return alive


def split_removal(settings: Settings, patches: int, keep: int) -> dict[str, int]:
    """Return how many tokens S and I remove: half each unless told or only one of them is there.

    S never removes more than its group A holds when its turn comes.
    """
    removed, parts = patches - keep, settings.pattern.split("-")
    if "S" not in parts:
        return {"S": 0, "I": removed}
    if "I" not in parts:
        return {"S": removed, "I": 0}
    share = settings.s_removal
    by_similarity = int(share * removed) if share < 1 else min(int(share), removed)
    while by_similarity > largest_group_a(settings, patches, removed - by_similarity):
        by_similarity -= 1
    return {"S": by_similarity, "I": removed - by_similarity}


def largest_group_a(settings: Settings, patches: int, removed_by_importance: int) -> int:
    parts = settings.pattern.split("-")
    if parts.index("I") < parts.index("S"):
        patches -= removed_by_importance
    return patches - 1 if settings.partition == "none" else patches // 2


def importance(image: Image, settings: Settings, alive: list[int], iterations: int) -> list[float]:
    emphasis = settings.emphasis if image.has_class_token else "none"
    everyone = len(alive) == image.count
    signals = [
        page_rank_of_head(
            head,
            iterations,
            emphasis,
            None if everyone else alive,
            settings.renormalise,
            settings.tolerance if iterations > 1 else None,
        )
        for head in image.weights
    ]
    counting = [True] * len(signals)
    if settings.head_filter:
        patches = alive[image.num_prefix :]
        counting = heads_that_count(signals, patches, settings.v_min, settings.v_max)
    return one_score_per_token(signals, counting, settings.heads)


def best_first(tokens: list[int], score: list[float]) -> list[int]:
    """Sort tokens by falling score; of equals the earlier token comes first."""
    return sorted(tokens, key=lambda token: (-score[token], token))


def similar_ones(
    image: Image, settings: Settings, alive: list[int], rank: list[float] | None, removed: int
) -> list[int]:
    """Return the tokens S drops: of the most similar pairs, the one in group A."""
    score = image.draws if rank is None else rank
    ranked = best_first(alive[image.num_prefix :], score)
    similarity = SIMILARITIES[settings.similarity]
    features = image.features
    pairs = []
    if settings.partition == "none":
        for place in range(1, len(ranked)):
            higher = ranked[:place]
            best = max(similarity(features[ranked[place]], features[other]) for other in higher)
            pairs.append((best, ranked[place]))
    else:
        group_a, group_b = GROUPS[settings.partition](ranked, image.draws)
        for token in group_a:
            best = max(similarity(features[token], features[other]) for other in group_b)
            pairs.append((best, token))
    pairs.sort(key=lambda pair: -pair[0])
    return [token for _, token in pairs[:removed]]


Groups = tuple[list[int], list[int]]


def less_important_half(ranked: list[int], draws: list[float]) -> Groups:
    half = len(ranked) // 2
    return ranked[len(ranked) - half :], ranked[: len(ranked) - half]


def more_important_half(ranked: list[int], draws: list[float]) -> Groups:
    half = len(ranked) // 2
    return ranked[:half], ranked[half:]


def every_other_rank(ranked: list[int], draws: list[float]) -> Groups:
    return ranked[1::2], ranked[0::2]


def at_random(ranked: list[int], draws: list[float]) -> Groups:
    return less_important_half(best_first(ranked, draws), draws)


GROUPS: dict[str, Callable[[list[int], list[float]], Groups]] = {
    "sequential-u": less_important_half,
    "sequential-i": more_important_half,
    "alternate": every_other_rank,
    "random": at_random,
}


def absorbed(
    x: list[Vector],
    size: list[float],
    features: list[Vector],
    kept: list[int],
    num_prefix: int,
    similarity: str = "cosine",
    *,
    average: bool,
) -> tuple[list[Vector], list[float]]:
    """Give each dropped token's size (and features, if `average`) to its most similar kept one."""
    targets = kept[num_prefix:]
    members = {token: [token] for token in kept}
    for token in range(len(x)):
        if token not in kept:
            alike = SIMILARITIES[similarity]
            best = max(targets, key=lambda to: alike(features[token], features[to]))
            members[best].append(token)
    new_x, new_size = [], []
    for token in kept:
        group = members[token]
        total = sum(size[member] for member in group)
        new_size.append(total)
        mean = [
            sum(size[member] * x[member][channel] for member in group) / total
            for channel in range(len(x[token]))
        ]
        new_x.append(mean if average else x[token])
    return new_x, new_size
