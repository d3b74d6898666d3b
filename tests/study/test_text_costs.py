"""What a study of texts says it will cost is what it costs, and which run misses its budget."""

from __future__ import annotations

import pytest

from huggingface_factory import review_file, text_checkpoint
from keeprate.evaluation.estimate import macs_per_image, without_weights
from keeprate.request import Cost, DataSpec, ModelSpec, Request, RunSpec
from keeprate.study.comparison import Comparison


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("texts")
    model = ModelSpec(f"hf:{text_checkpoint(folder / 'model')}")
    data = DataSpec("text-file", {"file": review_file(folder)})
    runs = [
        RunSpec("zero-tprune", {"pattern": pattern}, Cost(budget=budget))
        for pattern in ("I", "I'-S")
        for budget in ("90%", "70%")
    ]
    return without_weights(Request(model, data, tuple(runs)))


def test_a_dry_run_costs_texts_at_their_own_lengths(comparison: Comparison) -> None:
    for job in comparison.jobs:
        spent = comparison.prepared.mean(lambda size, job=job: job.model.plan.costs(size).total)
        assert macs_per_image(comparison, [job.model]) == round(spent)


def spent_share(comparison: Comparison, place: int) -> float:
    spent = macs_per_image(comparison, [comparison.jobs[place].model])
    return spent / comparison.unpruned_macs()


def test_a_note_on_a_missed_budget_names_the_run(comparison: Comparison) -> None:
    share = spent_share(comparison, 4)
    assert share != pytest.approx(0.7, rel=0.01)  # as it is at the longest length
    assert (
        f"Run 'zero-tprune pattern=I'-S keep 70%' costs {share:.1%} of the unpruned model on these "
        "texts, not 70%: where tokens are few, few costs can be reached."
    ) in comparison.notes
