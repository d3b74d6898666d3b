"""Who is ahead at each budget, in sentences: cases that were worked out by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import polars as pl
import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.model import GroupFindings, ReportOptions
from keeprate.analysis.sections.overview import leaders_of_group
from keeprate.analysis.tables import equal_cost_table
from keeprate.results.store import Store
from results_factory import make_backbone, make_data, make_result, make_rows, make_run

IMAGES = 100
ALL = range(IMAGES)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def put(
    store: Store, right: Mapping[str, Collection[int]], budget: str = "65%", keep: int | None = None
) -> None:
    """Store a run of each method at a budget that is right on the images named, and no others."""
    keeps = {"": 64, "80%": 50, "65%": 40, **({} if keep is None else {budget: keep})}
    for method, images in right.items():
        data = make_data(images=IMAGES)
        run = make_run(method, keeps[budget], budget=budget or None, schedule="r", data=data)
        rows = make_rows(run).with_columns(
            correct=pl.Series([image in images for image in ALL]),
            kl=pl.Series([0.25 if image in images else 0.75 for image in ALL]),
        )
        store.write(make_result(run, rows), rows)


def group_of(store: Store, metric: str | None = None) -> GroupFindings:
    (group,) = findings_of(store, ReportOptions(metric=metric)).groups
    return group


def said(store: Store, metric: str | None = None) -> list[str]:
    group = group_of(store, metric)
    sentences = leaders_of_group(group, 0.95)
    # reports have the same sentences, in the same order
    first = group.overview.index(sentences[0])
    assert list(group.overview[first : first + len(sentences)]) == sentences
    return sentences


def test_the_best_is_ahead_of_what_is_level_and_of_what_is_worse(store: Store) -> None:
    # Wilson of 90 in 100; one image apart is p = 1, twenty images one way are p = 2 / 2 ** 20
    put(store, {"a": range(90), "b": range(89), "c": range(70)})
    assert said(store) == [
        "At 65% a is ahead with 90.00 % [82.56, 94.48] top-1; not distinguishable from it: b; "
        "distinguishably worse: c.",
        "Distinguishable: by paired tests on the same images, at 95 %, corrected for 2 comparisons "
        "(Holm).",
    ]


def test_who_costs_clearly_less_than_the_budget_is_named(store: Store) -> None:
    put(store, {"a": range(90)})
    put(store, {"b": range(89)}, keep=20)
    group = group_of(store)
    (table,) = group.equal_cost
    share = next(rival.share_percent for rival in table.rivals if rival.series == "b")
    assert share < 0.97 * 65
    said_so = f"Not as costly: b ({share:.1f}%)."
    assert said(store)[0].endswith(f"not distinguishable from it: b. {said_so}")
    assert equal_cost_table(group, table, 0.95).caption.endswith(said_so)


def test_a_lead_counts_less_the_more_is_compared(store: Store) -> None:
    # six images one way: p = 2 / 2 ** 6 = 0.031 alone, 0.062 as the smaller of two
    put(store, {"a": range(90), "b": range(84)})
    assert said(store) == [
        "At 65% a is ahead with 90.00 % [82.56, 94.48] top-1; distinguishably worse: b.",
        "Distinguishable: by paired tests on the same images, at 95 %, corrected for 1 comparison "
        "(Holm).",
    ]
    put(store, {"a": range(90), "b": range(89)}, "80%")
    dear, cheap, meaning = said(store)
    assert dear.startswith("At 80% a is ahead with 90.00 % ")
    assert dear.endswith(" top-1; not distinguishable from it: b.")
    assert cheap.startswith("At 65% a is ahead with 90.00 % ")
    assert cheap.endswith(" top-1; not distinguishable from it: b.")
    assert "corrected for 2 comparisons" in meaning


@pytest.mark.parametrize(
    ("others", "end"),
    [
        ((range(60), range(50)), "; all others are distinguishably worse: b and c."),
        ((range(89), range(88)), "; none of the others is distinguishable from it: b and c."),
    ],
)
def test_all_the_others_are_named_as_one(
    others: tuple[range, range], end: str, store: Store
) -> None:
    put(store, {"a": range(90), "b": others[0], "c": others[1]})
    assert said(store)[0] == f"At 65% a is ahead with 90.00 % [82.56, 94.48] top-1{end}"


def test_a_tie_has_no_single_leader(store: Store) -> None:
    put(store, {"b": range(10, 100), "a": range(90), "c": range(70), "d": range(88)})
    assert said(store)[0] == (
        "At 65% a and b are ahead with 90.00 % [82.56, 94.48] top-1; not distinguishable from a: d;"
        " distinguishably worse: c."
    )


@pytest.mark.parametrize("right", [range(0), range(90), ALL])
def test_where_all_are_equal_nobody_is_ahead(right: range, store: Store) -> None:
    put(store, dict.fromkeys("abc", right))
    (sentence,) = said(store)  # what "distinguishable" means is no matter here
    assert sentence.startswith(f"At 65% all are equal, with {len(right)}.00 % [")
    assert sentence.endswith("] top-1: a, b and c.")


def test_the_only_method_is_compared_with_the_unpruned_model(store: Store) -> None:
    put(store, {"full": range(90)}, "")
    put(store, {"a": range(90)}, "80%")
    put(store, {"a": range(70)})
    level, sentence = said(store)  # and neither says for how many comparisons it is corrected
    assert "beside the unpruned model: not distinguishable" in level
    assert sentence.startswith("At 65% only a was run: 70.00 % [60.42, 78.11] top-1; beside the ")
    assert "unpruned model: worse by 20.0 points [" in sentence


def test_without_an_unpruned_run_the_only_method_has_its_figure_alone(store: Store) -> None:
    put(store, {"a": range(70)})
    assert said(store) == ["At 65% only a was run: 70.00 % [60.42, 78.11] top-1."]


def test_the_lower_figure_is_ahead_where_lower_is_better(store: Store) -> None:
    put(store, {"a": range(90), "b": range(20)})
    (sentence, _) = said(store, "kl")
    assert sentence.startswith("At 65% a is ahead with 0.3000 nats [0.")
    assert sentence.endswith("] KL; distinguishably worse: b.")


def test_a_run_without_a_figure_is_in_no_sentence(store: Store) -> None:
    put(store, {"a": range(90), "b": range(80)})
    run = make_run("c", 40, budget="65%", schedule="r", data=make_data(images=IMAGES))
    rows = make_rows(run).with_columns(kl=pl.lit(float("nan")))
    store.write(make_result(run, rows), rows)
    found = findings_of(store, ReportOptions(metric="kl"))
    (group,) = found.groups
    assert leaders_of_group(group, 0.95)[0].endswith(" KL; distinguishably worse: b.")
    assert any(run.id in problem for problem in found.problems)


def test_each_model_has_sentences_of_its_own(store: Store) -> None:
    put(store, {"a": range(90), "b": range(70)})
    run = make_run("b", 40, budget="65%", schedule="r", backbone=make_backbone("other", "0a" * 32))
    rows = make_rows(run)
    store.write(make_result(run, rows), rows)
    one, other = findings_of(store).groups
    assert leaders_of_group(one, 0.95)[0].startswith("At 65% a is ahead")
    assert [sentence[:21] for sentence in leaders_of_group(other, 0.95)] == [
        "At 65% only b was run"
    ]
