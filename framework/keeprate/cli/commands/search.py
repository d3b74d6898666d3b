"""`keeprate search`: searches for a schedule of a method, and confirms it on other images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ...errors import KeeprateError
from ..options import Number, plugin_options
from .compare import FOLDER_OPTIONS, MODEL_OPTIONS, RUN_OPTIONS, with_options

if TYPE_CHECKING:
    from ...search.question import SearchQuestion
    from ...study import Study

_MOST: Final = 10_000
"""More candidates than this are a mistake."""


@dataclass(frozen=True)
class SearchOptions:
    """The options of the command that say what is searched, as they were typed."""

    method: str
    budget: str
    vary: tuple[str, ...]
    against: tuple[str, ...]
    strategy: str | None
    candidates: int
    metric: str
    search_share: float
    seed: float | str


@click.command()
@with_options(MODEL_OPTIONS)
@click.option("--method", required=True, metavar="NAME[:PARAMETERS]", help="Whose schedule.")
@click.option("--budget", required=True, metavar="COST", help="GMACs (0.8) or a share (65%).")
@click.option(
    "--vary",
    multiple=True,
    metavar="PARAMETER=A,B",
    help="Search among these values of a parameter, too; repeatable.",
)
@click.option(
    "--strategy", metavar="NAME[:PARAMETERS]", help="greedy (default), halving, monte-carlo, ..."
)
@click.option(
    "--candidates",
    type=click.IntRange(1, _MOST),
    default=60,
    show_default=True,
    help="About how many schedules are tried.",
)
@click.option(
    "--metric", default="kl", show_default=True, metavar="NAME", help="What they are judged by."
)
@click.option(
    "--search-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of the images that is searched on; the others confirm.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="SCHEDULE",
    help="Compare with this schedule, too, solved for the budget; repeatable.",
)
@with_options(FOLDER_OPTIONS)
@click.option(
    "--seed", type=Number(), default=0, show_default=True, help="Of a method that has one."
)
@with_options(RUN_OPTIONS)
@plugin_options
def search(runs: Path, **options: Any) -> None:
    """Search for a schedule of a method at a cost, and compare it on images it was not chosen by.

    What is found goes to schedule.yaml in the folder of results, and is used with
    `--schedule @FILE`. The same command goes on where it was stopped.
    """
    asked = SearchOptions(**{name: options.pop(name) for name in SearchOptions.__annotations__})
    question, study = question_of(asked, options)

    # imported after the options are checked, so that a mistake is told at once
    from ..search_session import search_and_report

    # a name that was given is the study's
    folder = runs / (study.name if options["name"] else _folder_name(study, asked))
    raise click.exceptions.Exit(search_and_report(question, folder, study.spec.engine))


def question_of(asked: SearchOptions, options: Mapping[str, Any]) -> tuple[SearchQuestion, Study]:
    """Return what is searched, and the study of the method at the budget.

    `options` are those of the model and of how to run. Raises KeeprateError for whatever is wrong.
    """
    from ...search.strategies import build_strategy

    strategy = build_strategy(asked.strategy)
    own: dict[str, Any] = {"name": asked.method}
    costs = {"budgets": [asked.budget], "schedules": list(asked.against)}
    by_hand = [{**own, **costs}] if asked.against else []
    study = _specified(asked, options, [own, *by_hand])
    varied = dict(_varied(text) for text in asked.vary)
    settings = _specified(asked, options, [{**own, "parameters": varied}]) if varied else study

    from ...analysis.metrics import compared_metric
    from ...search.question import SearchQuestion, refuse

    (request,) = study.requests
    if not request.runs:  # a comparison with a method that reduces nothing is of it alone
        raise KeeprateError(f"--method: '{asked.method}' has no stages that could be searched for.")
    question = SearchQuestion(
        request=replace(request, runs=settings.requests[0].runs if varied else request.runs[:1]),
        own=request.runs[0],
        others=request.runs[1:],
        budget=asked.budget,
        strategy=strategy,
        candidates=asked.candidates,
        metric=compared_metric(asked.metric),
        share=asked.search_share,
    )
    refuse(question)
    return question, study


def _specified(asked: SearchOptions, options: Mapping[str, Any], methods: list[Any]) -> Study:
    from ...study import Problems, expand
    from ..typed_options import TypedOptions

    given = {**options, "methods": methods, "budgets": asked.budget, "seeds": asked.seed}
    spelling = {str(option.name): option.opts[0] for option in search.params}
    spelling |= {"methods": "--method", "budgets": "--budget", "seeds": "--seed"}
    return expand(Problems(TypedOptions(given, spelling)), ask_hub=True)


def _varied(text: str) -> tuple[str, object]:
    from ...study.yaml_lines import read_value

    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise KeeprateError(f"--vary {text}: write PARAMETER=A,B, as --vary pattern=I,S.")
    # a list of lists, as [[1],[30,5,1]], is written as it is
    return name, read_value(values if values.startswith("[") else f"[{values}]")


def _folder_name(study: Study, asked: SearchOptions) -> str:
    words = ("search", study.name, asked.method, asked.budget.rstrip("%"))
    return re.sub(r"[^\w.-]+", "-", "-".join(words))
