"""What an appendix holds: tokens, provenance, code, commands, and what is missing and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from html_factory import make_findings, make_group
from keeprate.analysis.appendix import (
    MOST_COMMANDS,
    MOST_SKIPPED,
    appendix_tables,
    code_table,
    disagreement_table,
    failed_commands,
    failures_table,
    group_commands,
    provenance_table,
    shared_table,
    skipped_table,
    tokens_table,
)
from keeprate.analysis.build import findings_of
from keeprate.analysis.disagreement import DisagreedSample, Disagreement, PredictedClass
from keeprate.analysis.model import GroupFindings, ReportOptions
from keeprate.analysis.provenance import SkippedSample
from keeprate.analysis.run_table import FindingsTable
from keeprate.analysis.sections import curves
from keeprate.analysis.tables import MOST_ABLATIONS, curve_table, notes_of
from keeprate.results.store import Store
from results_factory import make_run, put


@pytest.fixture
def group() -> GroupFindings:
    return make_group()


def texts(table: FindingsTable) -> dict[str, tuple[str, ...]]:
    return {column.heading: column.texts for column in table.columns}


def test_tokens_are_rounded_and_equal_ones_in_a_row_written_once(group: GroupFindings) -> None:
    first = replace(group.points[0], tokens=(197.0, 197.0, 99.96, 50.25, 50.25, 50.25, 197.0))
    found = texts(tokens_table(replace(group, points=(first, *group.points[1:]))))
    assert found["Tokens after each block"][0] == "197 x2, 100, 50.2 x3, 197"
    assert len(found["Run"]) == len(group.points)


def test_what_runs_have_in_common_is_said_once_and_the_rest_of_each(group: GroupFindings) -> None:
    first, *others = group.provenance
    other = replace(first, device="another", notes=("half a batch", "twice"))
    found = replace(group, provenance=(other, *others))
    shared = dict(zip(*texts(shared_table(found)).values(), strict=True))
    each = texts(provenance_table(found))
    assert "Device" not in shared
    assert each["Device"] == ("another", *["cpu"] * len(others))
    assert each["Notes"][:2] == ("half a batch; twice", "")
    assert each["Run id"] == tuple(origin.run_id for origin in found.provenance)
    assert each["Started"][0] == "2026-01-02 03:04:05 UTC"
    assert shared["Versions"] == "keeprate 0.1.0, torch 2.15.0"
    assert (shared["Weights SHA-256"], shared["Git revision"]) == ("5e" * 32, "-")
    assert not shared.keys() & each.keys()


def test_code_is_named_once_for_all_runs_of_a_method(group: GroupFindings) -> None:
    found = texts(code_table(group))
    assert found["Method"] == ("full", "random", "tome", "top-k")
    assert found["Runs"] == ("1", "3", "3", "3")
    assert set(found["SHA-256"]) == {"ab" * 32}


def test_all_that_a_group_has_is_laid_out(group: GroupFindings) -> None:
    everything = [table.title for table in appendix_tables(group)]
    assert {"Tokens after each block", "Published", "Skipped samples", "Code"} <= set(everything)
    bare = replace(group, published=(), skipped=())
    assert {"Published", "Skipped samples"} == set(everything) - {
        table.title for table in appendix_tables(bare)
    }


def test_of_many_skipped_samples_the_first_are_shown_and_the_others_counted(
    group: GroupFindings,
) -> None:
    many = tuple(SkippedSample(f"{n}.jpg", "empty") for n in range(MOST_SKIPPED + 7))
    found = skipped_table(replace(group, skipped=many))
    assert f"the first {MOST_SKIPPED} of {len(many)}, the others" in found.caption
    assert len(found.columns[0].texts) == MOST_SKIPPED
    assert skipped_table(group).caption.endswith("are in no figure.")


def test_commands_of_single_runs_are_there_unless_they_are_too_many(group: GroupFindings) -> None:
    all_of_it, single = group_commands(group)
    assert [command for _, command in all_of_it.commands] == list(group.commands)
    assert single.commands == tuple((each.run_id, each.command) for each in group.provenance)
    many = replace(group, provenance=group.provenance * MOST_COMMANDS)
    (only,) = group_commands(many)
    assert f"its {len(many.provenance):,} single runs are in the findings as JSON" in only.caption


def test_failures_are_named_with_their_errors_and_commands() -> None:
    found = make_findings()
    table, commands = failures_table(found), failed_commands(found)
    assert table
    assert commands
    assert texts(table)["Error"] == ("no tokens left",)
    assert commands.commands == (("tome-000000000000", "keeprate compare --force"),)
    assert failures_table(replace(found, failures=())) is None
    assert failed_commands(replace(found, failures=())) is None


def test_ablations_that_are_not_laid_out_are_counted(group: GroupFindings) -> None:
    assert notes_of(group) == ()
    many = replace(group, ablations=group.ablations * (MOST_ABLATIONS + 1))
    (said,) = notes_of(many)
    assert said.startswith(f"Of {MOST_ABLATIONS + 1} ablations the first {MOST_ABLATIONS} are")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with three series more than curves are worked out for."""
    return crowd(Store(tmp_path_factory.mktemp("crowded")), curves.MOST_CURVES + 3)


def crowd(store: Store, series: int) -> Store:
    """Put series of two runs into a store, each less accurate than the one before."""
    for number in range(series):
        for keep in (50, 40):
            run = make_run("zt", keep, budget=f"{keep}%", parameters={"x": number})
            put(store, run, accuracy=0.95 - number / 100)
    return store


@pytest.mark.slow
def test_series_without_a_curve_are_named_and_how_to_see_them(crowded: Store) -> None:
    (group,) = findings_of(crowded).groups
    drawn = {each.series for each in group.curves}
    assert len(drawn) == curves.MOST_CURVES
    assert len(group.curves_left_out) == 3
    assert not drawn & set(group.curves_left_out)
    assert {"zt x=62"} <= set(group.curves_left_out)
    assert group.overview[-1] == (
        "Curves are worked out for 60 series, the best ones; without one: "
        f"{group.curves_left_out[0]}, {group.curves_left_out[1]} and {group.curves_left_out[2]}. "
        "keeprate report FOLDER --against NAME takes the series or method NAME in."
    )
    table = curve_table(group, 0.95)
    assert table
    assert "Left out: 3 series; the overview says how to see one." in table.caption


def test_the_series_others_are_compared_with_always_has_a_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "MOST_CURVES", 2)
    store = crowd(Store(tmp_path), 4)
    (group,) = findings_of(store, ReportOptions("zt x=3")).groups
    assert {each.series for each in group.curves} == {"zt x=3", "zt x=0"}
    assert group.curves_left_out == ("zt x=1", "zt x=2")
    assert {area.against for area in group.area_differences} == {"zt x=3"}


def test_nothing_is_said_where_every_series_has_its_curve(tmp_path: Path) -> None:
    for keep in (50, 40):
        put(Store(tmp_path), make_run("tome", keep, budget=f"{keep}%"))
    (group,) = findings_of(Store(tmp_path)).groups
    assert group.curves_left_out == ()
    assert not any("Curves" in line for line in group.overview)


def test_captions_name_what_was_not_run_and_say_no_more_of_one_series(tmp_path: Path) -> None:
    from keeprate.analysis.tables import tables_of

    store = Store(tmp_path)
    put(store, make_run("tome", 50, budget="50%"))
    (group,) = findings_of(store).groups
    alone = tables_of(group, 0.95)[0]
    assert alone.caption.endswith("on n = 200 images of digits, with 95 % intervals.")
    assert "Verdict" not in texts(alone)
    put(store, make_run("tome", 40, budget="40%"))
    put(store, make_run("random", 50, budget="50%"))
    (group,) = findings_of(store).groups
    cheap = next(table for table in tables_of(group, 0.95) if table.title == "At 40%")
    assert cheap.caption.endswith("Not run at this cost: random.")


def test_the_samples_that_runs_disagree_on_are_listed_with_what_each_predicts(
    group: GroupFindings,
) -> None:
    guesses = (PredictedClass(281, "tabby", True), PredictedClass(7, "", False))
    sample = DisagreedSample("val/1.jpg", 281, "tabby", None, guesses, 100.0, 0.5)
    found = Disagreement("65%", ("a-1", "b-1"), ("a", "b"), "At 65%.", 500, 40, (sample,), "")
    table = disagreement_table(group, found)
    assert texts(table) == {
        "Sample": ("val/1.jpg",),
        "Class": ("tabby (281)",),
        "a": ("tabby (281)*",),
        "b": ("7",),
        "Pairs that differ, %": ("100",),
        "KL spread, nats": ("0.5000",),
    }
    assert "At 65%. Of 500 images they disagree on 40." in table.caption
    assert table in appendix_tables(replace(group, disagreement=found))
