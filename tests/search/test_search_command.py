"""The command `keeprate search`: what its options ask for, what it refuses, and what it prints."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keeprate.cli import keeprate as command
from keeprate.request import Cost
from keeprate.search.question import SearchQuestion
from keeprate.search.strategies import Greedy, Halving

pytestmark = pytest.mark.usefixtures("own_folder")


def typed(line: str) -> Result:
    return CliRunner().invoke(command, ["search", *shlex.split(line)])


def asked(line: str, monkeypatch: pytest.MonkeyPatch) -> tuple[SearchQuestion, Path]:
    """What a command searches for, and in which folder; nothing is run."""
    taken: list[tuple[SearchQuestion, Path]] = []

    def take(question: SearchQuestion, folder: Path, engine: str | None) -> int:
        taken.append((question, folder))
        return 0

    monkeypatch.setattr("keeprate.cli.search_session.search_and_report", take)
    done = typed(line)
    assert done.exit_code == 0, done.output
    return taken[0]


def test_the_method_at_the_budget_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "--data digits --method random --budget 65% --limit 40 --seed 3"
    question, folder = asked(line, monkeypatch)
    assert folder == Path("runs/search-digits-random-65")
    assert question.own.cost == Cost(None, "65%")
    assert question.request.runs == (question.own,)
    assert dict(question.own.values) == {"seed": 3}
    assert question.request.options.limit == 40
    assert (question.others, question.share, question.metric.name) == ((), 0.5, "kl")
    assert isinstance(question.strategy, Greedy)


def test_all_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    question, folder = asked(
        "--data digits --method zero-tprune:emphasis=none --budget 0.03 --vary pattern=I,S "
        "--vary 'iterations=[[1],[30,5,1]]' --against keep@2 --against r --name mine --metric top1 "
        "--strategy halving:rounds=2 --candidates 7 --search-share 0.25",
        monkeypatch,
    )
    assert folder == Path("runs/mine")
    settings = [dict(run.values) for run in question.request.runs]
    assert len(settings) == 4
    assert {(str(one["pattern"]), str(one["iterations"])) for one in settings} == {
        ("I", "[1]"),
        ("I", "[30, 5, 1]"),
        ("S", "[1]"),
        ("S", "[30, 5, 1]"),
    }
    assert {one["emphasis"] for one in settings} == {"none"}
    assert dict(question.own.values) == {"emphasis": "none", "seed": 0}
    assert [run.cost for run in question.others] == [Cost("keep@2", "0.03"), Cost("r", "0.03")]
    assert (question.metric.name, question.candidates, question.share) == ("top1", 7, 0.25)
    assert isinstance(question.strategy, Halving)


DIGITS = "--data digits --method random --budget 65%"
WRONG = {
    "a method": (
        "--data digits --method randm --budget 65%",
        "--method: No method 'randm'. Did you mean 'random'?",
    ),
    "a budget": ("--data digits --method random --budget lots", "--budget: 'lots' is not"),
    "a budget out of reach": (
        "--data digits --method random --budget 1%",
        "A budget of 0.450 MMACs is out of reach of method 'random'",
    ),
    "a parameter": (f"{DIGITS} --vary x=1,2", "No parameter 'x' in method 'random'."),
    "no values": (f"{DIGITS} --vary seed", "--vary seed: write PARAMETER=A,B"),
    "a strategy": (f"{DIGITS} --strategy gredy", "No strategy 'gredy'. Did you mean 'greedy'?"),
    "its parameter": (
        f"{DIGITS} --strategy halving:one_in=1",
        "Strategy 'halving': rounds must be at least 1 and one_in at least 2",
    ),
    "a metric": (f"{DIGITS} --metric kk", "No metric 'kk'."),
    "a metric without values": (f"{DIGITS} --metric ece", "has no value for each image"),
    "a schedule with counts": (f"{DIGITS} --against 9@3", "gives explicit counts"),
    "a share": (f"{DIGITS} --search-share 1", "--search-share"),
    "candidates": (f"{DIGITS} --candidates 0", "--candidates"),
    "a name": (f"{DIGITS} --name a/b", "--name: 'a/b' must be one plain folder name."),
    "what has no stages": ("--data digits --method full --budget 65%", "'full' has no stages"),
    "what keeps as it likes": (
        "--data digits --method ats --budget 65%",
        "keeps a different number of tokens in every image",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_told_before_a_model_is_loaded(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeprate.search.search.prepare", lambda request: pytest.fail("loaded"))
    line, said = WRONG[what]
    done = typed(line)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not Path("runs").exists()


@pytest.mark.slow
def test_what_is_found_is_printed_and_used() -> None:
    line = f"{DIGITS} --limit 40 --strategy monte-carlo --candidates 2 --accelerator cpu"
    done = typed(f"{line} --workers 0 --name found")
    assert done.exit_code == 0, done.output
    assert "2 trials on" in done.stdout
    assert "KL, nats (searched)   KL, nats (confirmed)   The found one is" in done.stdout
    path = Path("runs/found/schedule.yaml")
    assert f"Schedule: {path} (--schedule @{path})" in done.stdout
    assert len(Path("runs/found/trials.csv").read_text(encoding="utf-8").splitlines()) == 3
    options = f"--data digits --method random --schedule @{path} --part 0.5..1 --limit 40"
    compared = CliRunner().invoke(
        command, ["compare", *shlex.split(options), "--no-pictures", "--accelerator", "cpu"]
    )
    assert compared.exit_code == 0, compared.output
    assert f"@{path}" in compared.stdout


@pytest.mark.slow
def test_a_search_that_is_stopped_says_how_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from keeprate.evaluation.interrupts import StopSwitch

    monkeypatch.setattr(StopSwitch, "__call__", lambda self: True)
    done = typed(f"{DIGITS} --limit 40 --accelerator cpu --workers 0")
    assert done.exit_code == 130
    assert done.stderr.endswith("Stopped. The same command goes on from here.\n")
