"""Does a method's ranking converge? Distributions after more and more iterations, head by head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..attention import Attention
from ..errors import KeeprateError
from ..method import IterativeMethod, Method, Stage
from ..reduction.plan import Plan, make_plan, refuse_unsuited
from ..reduction.proof import require_proof
from ..reduction.reduced_model import ReducedModel
from ..reduction.schedule import parse_schedule
from ..request import Cost
from ..tokens import Tokens
from .image_selection import ImageSource, SelectedImage, grid_of, on_grid
from .patch_pictures import Importance


@dataclass(frozen=True)
class HeadFound:
    """How one head of a block converges on one image; `head` None stands for all together.

    `divergences` are the Kullback-Leibler divergences (nats) of the distribution after each number
    of iterations from that after the number before it; their mean over the heads for all together.
    `settled` is the least number of iterations from which the `keep` best of `patches` patch tokens
    stay the same, None where they still changed at the greatest.
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
    """What was found at one block for one image: all heads together first, then each.

    `maps` are the scores of the patches after each number of iterations, heads combined; NaN for
    patches dropped before.
    """

    heads: tuple[HeadFound, ...]
    maps: tuple[Importance, ...]


@dataclass(frozen=True)
class Question:
    """What is asked: numbers of `iterations`, ascending, and where, and what is kept there.

    With a `cost` at the stages of its schedule or budget, tokens being reduced on the way; without
    at `blocks` (None: all) of the unpruned model, where the best `keep_rate` of the patch tokens
    count as kept. Raises KeeprateError for fewer than two numbers of iterations, or none.
    """

    iterations: tuple[int, ...]
    cost: Cost | None = None
    blocks: tuple[int, ...] | None = None
    keep_rate: float = 0.7

    def __post_init__(self) -> None:
        numbers = self.iterations
        if len(numbers) < 2 or list(numbers) != sorted({*numbers}) or numbers[0] < 1:
            raise KeeprateError("iterations must be two or more numbers from 1, ascending.")


class ConvergenceStudy:
    """Looks at a method's iterations on single images of one source.

    To be made once the images are picked. Raises KeeprateError for a method that does not iterate,
    does not suit the model or cannot keep what is asked, and for blocks the model has not.
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
        plan = self._plan(method)
        require_proof(self.backbone)
        self.model = ReducedModel(self.backbone, plan, trace=True)

    @torch.inference_mode()
    def look(self, picked: SelectedImage) -> list[BlockFound]:
        """Return what is found for one image, block by block."""
        found: list[BlockFound] = []

        def watch(tokens: Tokens, attention: Attention, stage: Stage) -> None:
            found.append(self._at(picked.id, tokens, attention, stage))

        self.model.watch = watch
        index = torch.tensor([picked.index])
        if self.stages is None:
            self.model(picked.inputs, index)
        else:
            visit(self.model, picked.inputs, index, self.stages)
        self.model.watch = None
        return found

    def _stages(self, method: Method) -> dict[int, Stage]:
        """Return a stage for each block asked for, as if it were the only one."""
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

    def _at(self, image: str, tokens: Tokens, attention: Attention, stage: Stage) -> BlockFound:
        wanted = self.question.iterations
        signals = self._signals(tokens, attention, stage)  # (T, H, N)
        steps = torch.stack([signals[number - 1] for number in wanted])
        apart = divergences(steps)  # (T - 1, H)
        scores = [self.method.combined(tokens, signal[None])[0] for signal in signals]
        every = torch.stack([torch.stack(scores), *signals.unbind(dim=1)])  # (1 + H, T, N)
        after = [settled(each[:, tokens.num_prefix :], stage.keep) for each in every]
        means = torch.cat([apart.mean(dim=1, keepdim=True), apart], dim=1)
        heads = (
            HeadFound(
                image=image,
                block=stage.block,
                head=place - 1 if place else None,
                patches=tokens.num_patch_tokens,
                keep=stage.keep,
                divergences=tuple(means[:, place].tolist()),
                settled=after[place],
            )
            for place in range(len(every))
        )
        maps = tuple(self._map(scores[number - 1], tokens) for number in wanted)
        return BlockFound(tuple(heads), maps)

    def _signals(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the distributions (T, H, N) of one image after 1 to T iterations."""
        numbers = range(1, self.question.iterations[-1] + 1)
        signals = self.method.signals(tokens, attention, stage, numbers)
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
        values = score.float()[owner.clamp(min=0)].masked_fill(owner < 0, torch.nan)
        found: Importance = on_grid(values, self.grid)
        return found


def visit(model: ReducedModel, inputs: Tensor, index: Tensor, stages: Mapping[int, Stage]) -> None:
    """Run images of one size through the unpruned model and call `model.watch` at `stages`.

    What the method makes of the tokens there is thrown away: later blocks see them all.
    """
    [(rows, part, images)] = model.parts(inputs, index)
    tokens, record = model.begin(part, rows, images)
    for block in range(max(stages) + 1):
        if block in stages:
            model.run_block(block, tokens.copy(), stages[block], record.fork())
        tokens = model.run_block(block, tokens, None, record)


def divergences(steps: Tensor) -> Tensor:
    """Return the KL divergence of each distribution from the one before it, (T - 1, H) in nats.

    `steps` (T, H, N) are made to sum to 1 in float64, so that rounding does not show.
    """
    exact = steps.double()
    exact = exact / exact.sum(dim=-1, keepdim=True)
    later, earlier = exact[1:], exact[:-1]
    apart = torch.xlogy(later, later) - torch.xlogy(later, earlier)
    return apart.sum(dim=-1).clamp_min(0)


def settled(scores: Tensor, keep: int) -> int | None:
    """Return the number of iterations from which the kept set stays the same.

    `scores` (T, P) are those of the patch tokens after 1 to T iterations; the `keep` best are kept,
    ties go to the earlier. None where the set of the last iteration is new.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    kept = torch.zeros_like(scores, dtype=torch.bool).scatter(1, order[:, :keep], True)
    differs = (kept != kept[-1]).any(dim=1).tolist()
    first = max((number for number, other in enumerate(differs, start=1) if other), default=0) + 1
    return None if first == len(scores) and first > 1 else first


def rows_of(found: Sequence[BlockFound]) -> Iterator[HeadFound]:
    """Yield what was found of every head."""
    for block in found:
        yield from block.heads
