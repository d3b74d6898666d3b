"""Does a method's ranking converge? Distributions after more and more iterations, head by head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from ..attention import Attention
from ..errors import KeeprateError
from ..method import IterativeMethod, Method, Stage
from ..reduction.plan import Plan, make_plan
from ..reduction.proof import require_proof
from ..reduction.reduced_model import ReducedModel
from ..reduction.schedule import parse_schedule
from ..reduction.suitability import refuse_unsuited
from ..request import Cost
from ..tokens import Tokens, at_least_float32
from .image_selection import ImageSource, SelectedImage, grid_of, on_grid
from .patch_pictures import Importance

MOST_ITERATIONS: Final = 10_000


@dataclass(frozen=True)
class HeadFound:
    """How one head of a block converges on one image; `head` None stands for all heads together.

    `divergences` are the Kullback-Leibler divergences (nats) of the distribution after each number
    of iterations from the distribution after the number before it; for all heads together they are
    the means over the heads. `settled` is the least number of iterations after which the `keep`
    best of `patches` patch tokens stay the same; it is None if the last iteration changed them.
    """

    image: str
    block: int
    head: int | None
    patches: int
    keep: int
    divergences: tuple[float, ...]
    settled: int | None


@dataclass(frozen=True)
class BlockFound:
    """The result of one block for one image: all heads together first, then each head.

    `maps` are the scores that all heads together give the patches, after each number of iterations;
    NaN for patches that were dropped before.
    """

    heads: tuple[HeadFound, ...]
    maps: tuple[Importance, ...]


@dataclass(frozen=True)
class Question:
    """Which numbers of `iterations` (ascending) a study compares, and at which blocks.

    With a `cost`, the study looks at the stages of its schedule or budget, and tokens are reduced
    on the way. Without one it looks at `blocks` (None: all) of the unpruned model, where the best
    `keep_rate` of the patch tokens count as kept. Raises KeeprateError unless `iterations` are two
    or more ascending numbers from 1.
    """

    iterations: tuple[int, ...]
    cost: Cost | None = None
    blocks: tuple[int, ...] | None = None
    keep_rate: float = 0.7

    def __post_init__(self) -> None:
        numbers = self.iterations
        if len(numbers) < 2 or list(numbers) != sorted({*numbers}) or numbers[0] < 1:
            raise KeeprateError("iterations must be two or more numbers from 1, ascending.")
        # the distribution after every iteration is kept
        if numbers[-1] > MOST_ITERATIONS:
            raise KeeprateError(f"iterations must be at most {MOST_ITERATIONS}.")


class ConvergenceStudy:
    """Looks at a method's iterations on single images of one source.

    Make it after the images are picked, because they decide the image size. Raises KeeprateError
    for a method that does not iterate, does not suit the model or cannot keep as many tokens as
    the question says, and for blocks that the model does not have.
    """

    def __init__(self, source: ImageSource, method: Method, question: Question) -> None:
        if not isinstance(method, IterativeMethod):
            raise KeeprateError(
                f"Method '{method.name}' does not iterate: there is no convergence to study. A "
                "method does that offers the functions of keeprate.method.IterativeMethod."
            )
        self.backbone, self.grid = source.backbone, grid_of(source)
        self.method: IterativeMethod = method
        self.question = question
        self.name = method.name
        refuse_unsuited(self.backbone, method)
        self.stages = self._stages(method) if question.cost is None else None
        # the plan is checked before the proof, whose forward passes take longer
        plan = self._plan(method)
        require_proof(self.backbone)
        self.model = ReducedModel(self.backbone, plan, trace=True)

    @torch.inference_mode()
    def look(self, picked: SelectedImage) -> list[BlockFound]:
        """Return the result of each block for one image."""
        block_results: list[BlockFound] = []

        def watch(tokens: Tokens, attention: Attention, stage: Stage) -> None:
            block_results.append(self._examine_block(picked.id, tokens, attention, stage))

        self.model.watch = watch
        index = torch.tensor([picked.index])
        if self.stages is None:
            self.model(picked.inputs, index)
        else:
            visit(self.model, picked.inputs, index, self.stages)
        self.model.watch = None
        return block_results

    def _stages(self, method: Method) -> dict[int, Stage]:
        """Return a stage for each block of the question, as if it were the only stage."""
        depth, patches = self.backbone.depth, self.backbone.num_patches(self.backbone.image_size)
        blocks = self.question.blocks or range(depth)
        rate = self.question.keep_rate
        stages = {}
        for block in blocks:
            [stage] = parse_schedule(f"keep={rate}@{block}").stages(method, patches, depth)
            if stage.keep == patches:
                raise KeeprateError(f"A keep rate of {rate} drops none of {patches} patch tokens.")
            stages[block] = stage
        return stages

    def _plan(self, method: Method) -> Plan:
        cost = self.question.cost
        if cost is None:
            return Plan(self.backbone, method, None)
        return make_plan(self.backbone, method, cost.schedule, cost.budget)

    def _examine_block(
        self, image: str, tokens: Tokens, attention: Attention, stage: Stage
    ) -> BlockFound:
        iterations = self.question.iterations
        signals = self._signals(tokens, attention, stage)  # (T, H, N)
        steps = torch.stack([signals[number - 1] for number in iterations])
        head_divergences = divergences(steps)  # (T - 1, H)
        scores = [self.method.combined(tokens, signal[None])[0] for signal in signals]
        scores_by_head = torch.stack([torch.stack(scores), *signals.unbind(dim=1)])  # (1 + H, T, N)
        settled_after = [settled(s[:, tokens.num_prefix :], stage.keep) for s in scores_by_head]
        means = torch.cat([head_divergences.mean(dim=1, keepdim=True), head_divergences], dim=1)
        heads = (
            HeadFound(
                image=image,
                block=stage.block,
                head=position - 1 if position else None,
                patches=tokens.num_patch_tokens,
                keep=stage.keep,
                divergences=tuple(means[:, position].tolist()),
                settled=settled_after[position],
            )
            for position in range(len(scores_by_head))
        )
        maps = tuple(self._map(scores[number - 1], tokens) for number in iterations)
        return BlockFound(tuple(heads), maps)

    def _signals(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the distributions (T, H, N) of one image after 1 to T iterations."""
        numbers = range(1, self.question.iterations[-1] + 1)
        signals = self.method.signals(tokens, attention, stage, numbers)
        # `signals` is written by plugin authors: a wrong shape could broadcast unnoticed
        shape = tuple(signals.shape)
        if len(shape) != 4 or shape[:2] != (len(numbers), 1) or shape[3] != tokens.count:
            raise KeeprateError(
                f"Method '{self.name}': signals must be (T, B, H, N) for T = {len(numbers)}, B = 1 "
                f"and N = {tokens.count}, not {shape}."
            )
        return signals[:, 0]

    def _map(self, score: Tensor, tokens: Tokens) -> Importance:
        assert tokens.owner is not None
        owner = tokens.owner[0]
        # -1 (dropped) would read the last token: those patches read token 0, then become NaN
        values = score.to(at_least_float32(score.dtype))[owner.clamp(min=0)]
        values = values.masked_fill(owner < 0, torch.nan)
        importance_map: Importance = on_grid(values, self.grid)
        return importance_map


def visit(model: ReducedModel, inputs: Tensor, index: Tensor, stages: Mapping[int, Stage]) -> None:
    """Run images of one size through the unpruned model and call `model.watch` at `stages`.

    The tokens that the method reduces there are thrown away: later blocks see all tokens.
    """
    # images of one size are one part
    [(rows, part, images)] = model.parts(inputs, index)
    tokens, record = model.begin(part, rows, images)
    for block in range(max(stages) + 1):
        if block in stages:
            # copies: the method must not change the tokens and the trace that go on unpruned
            model.run_block(block, tokens.copy(), stages[block], record.fork())
        tokens = model.run_block(block, tokens, None, record)


def divergences(steps: Tensor) -> Tensor:
    """Return the KL divergence of each distribution from the one before it, (T - 1, H) in nats.

    `steps` (T, H, N) are made to sum to 1 in float64, so that rounding does not show.
    """
    exact = steps.double()
    exact = exact / exact.sum(dim=-1, keepdim=True)
    later, earlier = exact[1:], exact[:-1]
    # xlogy(0, 0) is 0, as in the definition; 0 * log(0) would be NaN
    pointwise = torch.xlogy(later, later) - torch.xlogy(later, earlier)
    # rounding can leave equal distributions a little below 0
    return pointwise.sum(dim=-1).clamp_min(0)


def settled(scores: Tensor, keep: int) -> int | None:
    """Return the number of iterations from which the kept set stays the same.

    `scores` (T, P) are the scores of the patch tokens after 1 to T iterations. The `keep` best are
    kept; of equal ones the earlier. Returns None if the last iteration changed the set.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    kept = torch.zeros_like(scores, dtype=torch.bool).scatter(1, order[:, :keep], True)
    changed = (kept != kept[-1]).any(dim=1).tolist()
    first = max((number for number, change in enumerate(changed, start=1) if change), default=0) + 1
    return None if first == len(scores) and first > 1 else first


def rows_of(found: Sequence[BlockFound]) -> Iterator[HeadFound]:
    """Yield the result of every head."""
    for block in found:
        yield from block.heads
