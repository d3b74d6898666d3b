"""A whole search on digits: what is searched on, what confirms, and what a second try computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from keeprate import KeeprateError
from keeprate.analysis.metrics import compared_metric
from keeprate.evaluation.comparison_runner import RunContext
from keeprate.evaluation.events import Event, PassStarted
from keeprate.reduction.schedule import file_of
from keeprate.request import Cost, Part, Request, RunSpec
from keeprate.results.records import Result
from keeprate.results.store import Store
from keeprate.search.evaluator import Evaluator, SearchStopped
from keeprate.search.question import SearchQuestion, refuse
from keeprate.search.search import SearchResult, search
from keeprate.search.strategies import Halving, MonteCarlo
from keeprate.search.writing import cost_sentence, schedule_file, table, trials_csv
from keeprate.study.build import build_engine
from run_factory import request

BUDGET = "65%"


def question(limit: int = 32, **changes: object) -> SearchQuestion:
    asked = request((), limit=limit, batch_size=64)
    run = RunSpec("random", {}, Cost(None, BUDGET))
    plain = SearchQuestion(
        request=replace(asked, runs=(run,)),
        own=run,
        others=(RunSpec("random", {}, Cost("keep@2", BUDGET)),),
        budget=BUDGET,
        strategy=MonteCarlo(),
        candidates=3,
        metric=compared_metric("kl"),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@dataclass
class Tried:
    """A search in a folder, and the events of it."""

    folder: Path
    result: SearchResult
    events: list[Event]

    @property
    def stored(self) -> list[Result]:
        found, problems = Store(self.folder).results()
        assert problems == []
        return found


def tried(
    folder: Path, asked: SearchQuestion, stopping: Callable[[], bool] = lambda: False
) -> Tried:
    events: list[Event] = []
    context = RunContext(Store(folder), build_engine(None), events.append, stopping)
    return Tried(folder, search(asked, context), events)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    return tried(tmp_path_factory.mktemp("search") / "run", question())


def samples_of(done: Tried, part: Part) -> set[str]:
    store = Store(done.folder)
    runs = [run for run in done.stored if run.run.data.part == (part.start, part.end, 32)]
    return {sample for run in runs for sample in store.rows(run.id)["sample"]}


def test_no_image_confirms_that_was_searched_on(done: Tried) -> None:
    searched, confirmed = (samples_of(done, part) for part in (Part(0, 0.5), Part(0.5, 1)))
    assert not searched & confirmed
    assert (len(searched), len(confirmed)) == done.result.images
    assert len(searched | confirmed) == 32
    assert searched == {sample for sample in searched | confirmed if Part(0, 0.5).holds(sample)}


def test_all_candidates_cost_the_same(done: Tried) -> None:
    costs = [judged.solved.macs for judged in done.result.history]
    assert len(costs) == 3
    assert max(costs) <= min(costs) * 1.005
    runs = {run.run.schedule: run.measured.macs.total for run in done.stored}
    for judged in done.result.history:
        schedule = ",".join(f"{keep}@{block}" for block, keep in judged.solved.stages)
        assert runs[schedule] == judged.solved.macs


def test_the_best_on_the_searched_half_is_found_and_compared_with_the_others(done: Tried) -> None:
    best = min(done.result.history, key=lambda judged: judged.loss)
    assert done.result.found == best.solved
    found, default, by_hand = done.result.contenders
    assert [one.label for one in done.result.contenders] == ["found", "default", "keep@2"]
    assert found.searched == pytest.approx(best.loss)
    assert found.found_is is None
    store = Store(done.folder)
    run_of = {
        (run.run.schedule, run.run.data.part): store.rows(run.id)["kl"].mean()
        for run in done.stored
    }
    for contender, schedule in ((default, "keep"), (by_hand, "keep@2")):
        assert contender.confirmed == pytest.approx(run_of[schedule, (0.5, 1.0, 32)])
        assert contender.searched == pytest.approx(run_of[schedule, (0.0, 0.5, 32)])
        assert contender.found_is is not None
        assert contender.found_is.family == 2
        assert contender.found_is.difference.value == pytest.approx(
            found.confirmed - contender.confirmed
        )


def test_candidates_share_a_pass_and_its_first_blocks(done: Tried) -> None:
    passes = [len(event.ids) for event in done.events if isinstance(event, PassStarted)]
    # the unpruned model and all candidates; those made by hand; and all that is confirmed
    assert passes == [4, 2, 4]
    assert 0 < done.result.spent.shared < done.result.spent.apart
    # every run once, whatever it was compared with
    costs = {run.id: run.measured.images * run.measured.macs.total for run in done.stored}
    assert done.result.spent.apart == sum(costs.values())
    assert "forward passes of the unpruned model for each image" in cost_sentence(done.result)


def test_a_second_try_computes_nothing_and_finds_the_same(done: Tried) -> None:
    again = tried(done.folder, question())
    assert not any(isinstance(event, PassStarted) for event in again.events)
    assert again.result.contenders == done.result.contenders
    assert again.result.spent == done.result.spent


@pytest.mark.slow
def test_more_candidates_compute_the_new_ones_alone(done: Tried) -> None:
    again = tried(done.folder, question(candidates=4))
    passes = [len(event.ids) for event in again.events if isinstance(event, PassStarted)]
    assert passes[0] == 1
    assert [one.solved for one in again.result.history[:3]] == [
        one.solved for one in done.result.history
    ]


def test_the_file_says_what_was_found_and_how_it_was_confirmed(done: Tried, tmp_path: Path) -> None:
    path = tmp_path / "schedule.yaml"
    path.write_text(schedule_file(question(), done.result).text(), encoding="utf-8")
    read = file_of(f"@{path}")
    assert (read.method, read.parameters, read.budget) == ("random", {}, BUDGET)
    assert (read.found_on.blocks, read.found_on.patches) == (12, 64)
    assert read.evidence.strategy == "monte-carlo:seed=0"
    assert read.evidence.trials == 3
    assert [one.confirmed for one in read.evidence.figures] == [
        one.confirmed for one in done.result.contenders
    ]
    assert read.evidence.figures[1].found_is.startswith(("better", "worse", "not distinguishable"))
    counts = [(round(stage.depth * 12), round(stage.tokens * 64)) for stage in read.stages]
    assert tuple(counts) == done.result.found.stages


def test_all_trials_are_written_with_what_came_out(done: Tried) -> None:
    trials = pl.read_csv(trials_csv(question(), done.result).encode())
    assert trials.columns == [
        *("schedule", "parameters", "macs", "saving", "share_of_images", "kl_nats"),
    ]
    assert trials["kl_nats"].to_list() == pytest.approx([one.loss for one in done.result.history])
    assert trials["macs"].to_list() == [one.solved.macs for one in done.result.history]
    failed = replace(done.result, history=(replace(done.result.history[0], loss=math.inf),))
    assert pl.read_csv(trials_csv(question(), failed).encode())["kl_nats"].to_list() == [None]


def test_the_table_tells_both_halves_apart(done: Tried) -> None:
    headings = [column.heading for column in table(question(), done.result)]
    assert headings == [
        *("Schedule", "Cost", "KL, nats (searched)", "KL, nats (confirmed)", "The found one is"),
    ]


@pytest.mark.slow
def test_halving_shows_the_later_images_to_the_best_alone(done: Tried) -> None:
    # beside the folder of the first search, whose runs on all images it may take over
    result = tried(
        done.folder.with_name("halving"), question(strategy=Halving(rounds=2, one_in=3))
    ).result
    shares = [judged.trial.share for judged in result.history]
    assert shares == [1 / 3, 1 / 3, 1 / 3, 1.0]
    last = result.history[-1]
    # what the first third has said and what the others say is one mean over all images
    (same,) = [one for one in done.result.history if one.solved == last.solved]
    assert last.loss == pytest.approx(same.loss)


def test_what_a_run_has_seen_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, Part]] = []

    def values(self: Evaluator, specs: list[RunSpec], part: Part) -> list[object]:
        asked.append((len(specs), part))
        return [np.full(2 if part.start == 0 else 6, part.end)] * len(specs)

    monkeypatch.setattr(Evaluator, "values", values)
    evaluator = Evaluator(question().request, None, None, compared_metric("kl"))  # type: ignore[arg-type]
    one, other = question().own, question().others[0]
    assert evaluator.losses([(one, 0.25), (other, 0.25)]) == [0.25, 0.25]
    # two images gave .25, six more give 1
    assert evaluator.losses([(one, 1.0)]) == [pytest.approx((2 * 0.25 + 6 * 1) / 8)]
    assert evaluator.losses([(one, 1.0), (other, 0.25)]) == [pytest.approx(0.8125), 0.25]
    assert asked == [(2, Part(0, 0.25)), (1, Part(0.25, 1.0))]


def test_a_metric_that_should_be_high_is_a_negative_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [np.array([1.0, 0.0, 1.0, np.nan]), None]  # one image has no label, one run failed
    monkeypatch.setattr(Evaluator, "values", lambda self, specs, part: outcomes)
    evaluator = Evaluator(question().request, None, None, compared_metric("top1"))  # type: ignore[arg-type]
    wanted = [(question().own, 1.0), (question().others[0], 1.0)]
    assert evaluator.losses(wanted) == [pytest.approx(-2 / 3), math.inf]


@pytest.mark.parametrize("values", [[], [math.nan]])
def test_no_value_at_all_is_no_loss(values: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluator, "values", lambda self, specs, part: [np.array(values)])
    evaluator = Evaluator(question().request, None, None, compared_metric("top1"))  # type: ignore[arg-type]
    with pytest.raises(KeeprateError, match="No image has a value of top1"):
        evaluator.losses([(question().own, 1.0)])


def test_a_search_that_is_stopped_keeps_what_it_has(tmp_path: Path) -> None:
    begun: list[Event] = []

    def listen(event: Event) -> None:
        begun.append(event)

    context = RunContext(Store(tmp_path / "run"), build_engine(None), listen, lambda: bool(begun))
    with pytest.raises(SearchStopped):
        search(question(limit=24), context)


def test_too_few_images_are_refused_before_anything_is_stored(tmp_path: Path) -> None:
    with pytest.raises(
        KeeprateError, match=r"\d+ images to search on and \d+ to confirm on are too"
    ):
        tried(tmp_path / "run", question(limit=9))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("full", "Method 'full' has no stages"),
        ("downsample", "Method 'downsample' has no stages"),
        ("ats", "Method 'ats' keeps a different number of tokens in every image"),
    ],
)
def test_a_method_without_schedules_of_one_cost_is_refused(method: str, said: str) -> None:
    asked: Request = replace(question().request, runs=(RunSpec(method),))
    with pytest.raises(KeeprateError, match=said):
        refuse(question(request=asked))


def test_a_budget_that_no_schedule_meets_is_told(tmp_path: Path) -> None:
    class Nothing(MonteCarlo):
        """Asks for what no cost can be solved for."""

        def ask(self, space: object, history: object) -> list[object]:  # type: ignore[override]
            return []

    with pytest.raises(
        KeeprateError, match="No schedule of method 'random' was found that costs 65%"
    ):
        tried(tmp_path / "run", question(strategy=Nothing()))
