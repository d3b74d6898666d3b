"""Write what a search found: the file of the schedule, and the table that is printed."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

import polars as pl

from ..analysis.run_table import Column, column
from ..costs import gmacs
from ..plugins.parameters import spec_text, values_of
from ..reduction.schedule_file import (
    ConfirmedFigure,
    Evidence,
    FoundOn,
    ScheduleFile,
    share_stage,
)
from ..results.environment import versions
from ..study.methods import SEED
from .family import counts_text
from .question import SearchQuestion
from .search import SearchResult

SCHEDULE_FILE: Final = "schedule.yaml"
TRIALS_FILE: Final = "trials.csv"
"""The names of the files in a search's folder."""


def schedule_file(question: SearchQuestion, result: SearchResult) -> ScheduleFile:
    """Return the found schedule with its evidence."""
    backbone, found = result.base.backbone, result.found
    method, spec = question.methods()[found.setting], question.request.runs[found.setting]
    patches = backbone.num_patches(backbone.image_size)
    # a seed is chance, no part of a schedule
    chosen = {name for name in spec.values if name != SEED}
    return ScheduleFile(
        method=method.name,
        parameters={name: value for name, value in values_of(method).items() if name in chosen},
        budget=question.budget,
        stages=tuple(
            share_stage(method, block, keep, backbone.depth, patches)
            for block, keep in found.stages
        ),
        found_on=FoundOn(
            model=result.base.loaded.name,
            data=result.base.data.title,
            blocks=backbone.depth,
            patches=patches,
        ),
        evidence=_evidence(question, result),
        versions=versions(),
    )


def _evidence(question: SearchQuestion, result: SearchResult) -> Evidence:
    strategy = question.strategy
    return Evidence(
        strategy=spec_text(strategy.name, values_of(strategy)),
        trials=len(result.history),
        metric=question.metric.title,
        images_searched=result.images[0],
        images_confirmed=result.images[1],
        figures=tuple(
            ConfirmedFigure(
                schedule=contender.label,
                macs=contender.macs,
                searched=contender.searched,
                confirmed=contender.confirmed,
                found_is="" if contender.found_is is None else contender.found_is.text,
            )
            for contender in result.contenders
        ),
    )


def trials_csv(question: SearchQuestion, result: SearchResult) -> str:
    """Return all trials as CSV: what was tried, on which share of the search's images, how good.

    `saving` is below 1 for steps on the way to the budget; a run that failed has no figure.
    """
    metric, runs = question.metric, question.request.runs
    sign = -1.0 if metric.higher_is_better else 1.0
    return pl.DataFrame(
        [
            {
                "schedule": counts_text(one.solved.stages),
                "parameters": spec_text("", runs[one.solved.setting].values).removeprefix(":"),
                "macs": one.solved.macs,
                "saving": one.trial.saving,
                "share_of_images": float(one.trial.share),
                metric.key(): metric.scale * sign * one.loss if isfinite(one.loss) else None,
            }
            for one in result.history
        ],
        infer_schema_length=None,
    ).write_csv()


def table(question: SearchQuestion, result: SearchResult) -> Sequence[Column]:
    """Return the columns of a table of the contenders."""
    contenders, metric = result.contenders, question.metric
    return (
        column("Schedule", contenders, lambda one: one.label, rank=0, figures=False),
        column("Cost", contenders, lambda one: gmacs(one.macs), rank=2),
        column(
            f"{metric.title} (searched)", contenders, lambda one: metric.text(one.searched), rank=1
        ),
        column(
            f"{metric.title} (confirmed)",
            contenders,
            lambda one: metric.text(one.confirmed),
            rank=0,
        ),
        column(
            "The found one is",
            contenders,
            lambda one: "" if one.found_is is None else one.found_is.text,
            rank=0,
            figures=False,
        ),
    )


def cost_sentence(result: SearchResult) -> str:
    """Return what the search cost in forward passes of the unpruned model for each image."""
    unit = result.base.unpruned_macs() * sum(result.images)
    shared, apart = result.spent.shared / unit, result.spent.apart / unit
    return (
        f"All runs together cost {shared:.1f} forward passes of the unpruned model for each image; "
        f"each by itself, they would have cost {apart:.1f}."
    )
