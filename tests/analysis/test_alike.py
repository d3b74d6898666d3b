"""How alike two reductions are, by hand; and what reports show of it."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from html_factory import make_findings
from keeprate.analysis.alike import Alike, AlikePair
from keeprate.analysis.sections.alike import alike_table
from keeprate.analysis.statistics.alikeness import (
    Owners,
    chance_overlap,
    grouping_agreement,
    kept_overlap,
    own_patches,
    rank_correlation,
)
from keeprate_reports.alike_csv import AlikeCsv
from keeprate_reports.html_payload import payload


def owners(*tokens: int) -> Owners:
    return np.array(tokens)


def test_a_patch_that_was_dropped_or_merged_has_no_token_of_its_own() -> None:
    assert own_patches(owners(0, -1, 2, 2, 3)).tolist() == [True, False, False, False, True]
    assert not own_patches(owners(-1, -1)).any()


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        (owners(0, 1, -1, -1), owners(5, -1, 6, -1), 1 / 3),
        (owners(0, 1, 2, 2), owners(0, 1, -1, -1), 1.0),
        (owners(0, 0, -1, -1), owners(1, 1, 2, 3), 0.0),
        (owners(0, 0), owners(-1, -1), None),
    ],
)
def test_what_both_keep_is_a_share_of_what_either_keeps(
    one: Owners, other: Owners, share: float | None
) -> None:
    assert kept_overlap(one, other) == kept_overlap(other, one) == share


def test_chance_by_hand() -> None:
    """Of 4 patches 2 and 2: none in common in 1 of 6 draws, one in 4 (1/3), both in 1."""
    assert chance_overlap(4, 2, 2) == pytest.approx((0 + 4 / 3 + 1) / 6)
    assert chance_overlap(4, 4, 1) == pytest.approx(1 / 4)
    assert chance_overlap(4, 0, 0) is None


def test_chance_is_the_mean_over_all_pairs_of_sets() -> None:
    sets = [
        (set(one), set(other))
        for one in combinations(range(6), 2)
        for other in combinations(range(6), 3)
    ]
    mean = sum(len(one & other) / len(one | other) for one, other in sets) / len(sets)
    assert chance_overlap(6, 2, 3) == pytest.approx(mean)


@pytest.mark.parametrize(
    ("one", "other", "index"),
    [
        (owners(0, 0, 1, 1), owners(7, 7, 3, 3), 1.0),
        # pairs: 1, 2 and 1 in both, of 6: (1 - 1/3) / (3/2 - 1/3)
        (owners(0, 0, 1, 2), owners(0, 0, 1, 1), 4 / 7),
        # pairs: 2, 3 and 1 in both, of 6, as many as by chance
        (owners(0, 0, 1, 1), owners(0, 0, 0, 1), 0.0),
        (owners(0, 0, 0), owners(2, 2, 2), 1.0),
        # the dropped patch does not count: what is left is equal
        (owners(0, 0, 1, -1), owners(0, 0, 1, 1), 1.0),
        (owners(0, 1, 2, -1), owners(0, 0, 1, 1), None),
        (owners(-1, -1, 0), owners(0, 0, -1), None),
    ],
)
def test_groups_are_compared_by_the_adjusted_rand_index(
    one: Owners, other: Owners, index: float | None
) -> None:
    assert grouping_agreement(one, other) == grouping_agreement(other, one)
    assert grouping_agreement(one, other) == (index if index is None else pytest.approx(index))


def test_ranks_are_compared_and_equal_scores_share_one() -> None:
    up = np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(up, np.exp(up)) == pytest.approx(1.0)
    assert rank_correlation(up, -up) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 against 1 to 4: covariance 4.5 of variances 5 and 4.5
    assert rank_correlation(up, np.array([0.0, 5.0, 5.0, 9.0])) == pytest.approx(4.5 / 22.5**0.5)
    assert rank_correlation(up, np.ones(4)) is None
    assert rank_correlation(up, np.array([1.0, np.nan, 2.0, 3.0])) is None


FOUND = Alike(
    labels=("random", "tome", "<b>"),
    text="All 3 series at 65%, one run of each.",
    images=16,
    pairs=(
        AlikePair("random", "tome", 0.25, 0.3, None, None),
        AlikePair("random", "<b>", None, None, None, -0.5),
    ),
)


def test_every_report_has_the_pairs_and_a_measure_that_none_has_is_left_out() -> None:
    (group,) = make_findings().groups
    table = alike_table(replace(group, alike=FOUND))
    assert table is not None
    assert "means over 16 images: All 3 series at 65%" in table.caption
    assert {column.heading: column.texts for column in table.columns} == {
        "Run": ("random", "random"),
        "and": ("tome", "<b>"),
        "Kept by both": ("0.25", ""),
        "By chance": ("0.30", ""),
        "Scores": ("", "-0.50"),
    }
    assert alike_table(group) is None


def test_a_heat_map_has_a_cell_for_each_pair_both_ways_and_a_file_a_row(tmp_path: Path) -> None:
    findings = make_findings()
    findings = replace(findings, groups=(replace(findings.groups[0], alike=FOUND),))
    page: dict[str, Any] = payload(findings)
    kept, scores = page["groups"][0]["alike"]
    assert (kept["title"], kept["rows"]["rows"]) == ("Kept by both", 2)
    assert (scores["title"], scores["rows"]["rows"]) == ("Scores alike", 2)
    (path,) = AlikeCsv().write(findings, tmp_path)
    first, second = csv.DictReader(path.read_text().splitlines())
    assert (first["images"], first["kept"], first["grouping"]) == ("16", "0.25", "")
    assert (second["second"], second["scores"]) == ("<b>", "-0.5")
