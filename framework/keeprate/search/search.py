"""Search for a schedule on some images, and compare what was found on the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import isinf
from typing import Final

from ..costs import parse_budget
from ..errors import KeeprateError
from ..evaluation.comparison_runner import RunContext
from ..evaluation.runner import read_sources
from ..method import Method
from ..reduction.plan import make_plan
from ..request import Cost, Part, RunSpec
from ..results.lock import locked
from ..strategy import Judged, Solved, Space
from ..study.build import build_run, prepare
from ..study.comparison import Comparison
from .confirmation import ConfirmedSchedule, best_of, confirmed
from .evaluator import Evaluator, Spent
from .family import ScheduleFamily, counts_text
from .question import SearchQuestion

_FEWEST: Final = 8
"""Images of either half below which nothing can be said."""
FOUND: Final = "found"
"""The label of the found schedule."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found, and the contenders: the found schedule first, then the default one.

    `images` are those of the search and those of the confirmation; `history` has all trials.
    """

    base: Comparison
    found: Solved
    contenders: tuple[ConfirmedSchedule, ...]
    images: tuple[int, int]
    history: tuple[Judged, ...]
    spent: Spent


def search(question: SearchQuestion, context: RunContext) -> SearchResult:
    """Search, and confirm what was found.

    Raises KeeprateError for a model or a method that no schedule can be searched for, too few
    images and a budget that no schedule meets; SearchStopped where the search was stopped.
    """
    read_sources()
    base = prepare(replace(question.request, runs=()))
    family = _family(question, base)
    evaluator = Evaluator(question.request, base, context, question.metric)
    halves = Part(0.0, question.share), Part(question.share, 1.0)
    images = tuple(evaluator.images(half) for half in halves)
    if min(images) < _FEWEST:
        raise KeeprateError(
            f"{images[0]} images to search on and {images[1]} to confirm on are too few: give at "
            f"least {_FEWEST} of each."
        )
    with locked(context.store.folder):
        context.store.prepare()
        try:
            history = _searched(question, family, evaluator)
            found = _best(history, question)
            contenders = _contenders(question, evaluator, found, halves[1])
        finally:
            context.engine.close()
    return SearchResult(
        base, found.solved, contenders, (images[0], images[1]), tuple(history), evaluator.spent
    )


def spec_of(solved: Solved, settings: Sequence[RunSpec]) -> RunSpec:
    """Return the run of a schedule."""
    return replace(settings[solved.setting], cost=Cost(schedule=counts_text(solved.stages)))


def _family(question: SearchQuestion, base: Comparison) -> ScheduleFamily:
    if base.backbone.text_inputs:
        raise KeeprateError("A schedule is searched for images: texts have many lengths.")
    options = question.request.options
    budget = parse_budget(question.budget)
    return ScheduleFamily(base.backbone, question.methods(), budget, options.empty_last_mlp)


def _searched(
    question: SearchQuestion, family: ScheduleFamily, evaluator: Evaluator
) -> list[Judged]:
    """Ask the strategy until it has no more to try, and return all that was judged."""
    settings = question.request.runs
    space = Space(
        depth=family.backbone.depth,
        blocks=family.blocks(),
        candidates=question.candidates,
        settings=len(settings),
        solve=family.solve,
    )
    history: list[Judged] = []
    while trials := question.strategy.ask(space, tuple(history)):
        solved = [(trial, family.solve(trial.candidate, trial.saving)) for trial in trials]
        sound = [(trial, found) for trial, found in solved if found is not None]
        if not sound:  # a strategy that does not ask `solve` would ask for the same for ever
            break
        losses = evaluator.losses(
            [(spec_of(found, settings), trial.share * question.share) for trial, found in sound]
        )
        history += [
            Judged(trial, found, loss) for (trial, found), loss in zip(sound, losses, strict=True)
        ]
    return history


def _best(history: Sequence[Judged], question: SearchQuestion) -> Judged:
    whole = [one for one in history if one.trial.share == 1 and one.trial.saving == 1]
    best = min(whole, key=lambda judged: judged.loss, default=None)
    if best is None:
        raise KeeprateError(
            f"No schedule of method '{question.own.method}' was found that costs {question.budget} "
            "to within half a per cent: with few blocks and tokens, few costs can be reached. Try "
            "another budget or more candidates."
        )
    if isinf(best.loss):
        raise KeeprateError("The run of every schedule failed: log.jsonl in the folder tells why.")
    return best


def _contenders(
    question: SearchQuestion, evaluator: Evaluator, found: Judged, part: Part
) -> tuple[ConfirmedSchedule, ...]:
    """Confirm the found schedule beside the default one and the best of those made by hand."""
    others = [*question.others, *_presets(question, evaluator.base)]
    by_hand = [(spec, question.share) for spec in (question.own, *others)]
    own_loss, *losses = evaluator.losses(by_hand)
    spec = spec_of(found.solved, question.request.runs)
    contenders = {FOUND: (spec, found.loss), "default": (question.own, own_loss)}
    if (best := best_of(losses)) is not None:
        other = others[best]
        contenders[str(other.cost.schedule)] = (other, losses[best])
    runs = {label: run for label, (run, _) in contenders.items()}
    return confirmed(
        evaluator, runs, {label: loss for label, (_, loss) in contenders.items()}, part
    )


def _presets(question: SearchQuestion, base: Comparison) -> list[RunSpec]:
    """Return the runs with those of the method's presets that can follow the budget."""
    options, own, found = question.request.options, question.own, []
    presets = type(build_run(own, options.seed).method).presets
    for name, preset in {} if isinstance(own.given, Method) else presets.items():
        values = {key: own.values[key] for key in own.values if key not in preset.parameters}
        spec = replace(own, values=values, cost=Cost(name, question.budget))
        method = build_run(spec, options.seed).method
        with suppress(KeeprateError):  # explicit counts, or a cost that it cannot reach
            make_plan(
                base.backbone,
                method,
                name,
                question.budget,
                empty_last_mlp=options.empty_last_mlp,
            )
            found.append(spec)
    return found
