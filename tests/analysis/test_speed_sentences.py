"""What reports say of speed-ups: their intervals, and where they cannot be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.model import GroupFindings, Interval
from keeprate.analysis.run_table import table
from keeprate.analysis.sections.overview import speed_of_group
from keeprate.analysis.statistics import median_interval
from keeprate.results.store import Store
from results_factory import make_result, make_rows, make_run, make_throughput

QUIET = (1.4, 1.41, 1.39, 1.42, 1.38, 1.4)
LOUD = (1.4, 1.8, 0.9, 1.5, 1.3, 1.4)


def timed(folder: Path, **ratios: tuple[float, ...]) -> GroupFindings:
    store = Store(folder)
    for method, of_rounds in ratios.items():
        run = make_run(method, 40, budget="65%")
        rows = make_rows(run)
        store.write(make_result(run, rows, make_throughput(1.4, of_rounds)), rows)
    (group,) = findings_of(store).groups
    return group


@pytest.mark.parametrize(
    ("number", "level", "ends"),
    [
        # 2 ** -6 is at most 0.025, 2 ** -5 is not; (1 + 9) / 2 ** 9 and (1 + 12 + 66) / 2 ** 12 are
        (6, 0.95, (1, 6)),
        (5, 0.95, None),
        (9, 0.95, (2, 8)),
        (12, 0.95, (3, 10)),
        (2, 0.5, (1, 2)),
        (1, 0.5, None),
        (0, 0.95, None),
    ],
)
def test_an_interval_of_a_median_ends_at_values(
    number: int, level: float, ends: tuple[int, int] | None
) -> None:
    values = sorted(range(1, number + 1), key=lambda value: value % 3)
    assert median_interval(values, level) == ends


def test_quiet_speeds_have_intervals_and_no_warning(tmp_path: Path) -> None:
    group = timed(tmp_path, tome=QUIET)
    assert group.points[0].throughput_interval == Interval(1.4, 1.38, 1.42)
    assert speed_of_group(group) == []
    (shown,) = [column.texts for column in table(group, 0.95) if column.heading == "Speed-up"]
    assert shown == ("1.40 [1.38, 1.42]",)
    (kept,) = [each.texts for each in table(group, 0.95) if each.heading == "Of MACs' promise"]
    assert kept == (f"{1.4 * group.points[0].share_percent / 100:.3f}",)


def test_noisy_speeds_are_called_so_in_every_report(tmp_path: Path) -> None:
    group = timed(tmp_path, tome=QUIET, random=LOUD)
    assert speed_of_group(group) == [
        "Speed was noisy: that of random at 65% may be 0.90 to 1.80 times the unpruned model's. "
        "Measure it again on an idle machine."
    ]
    assert speed_of_group(group)[0] in group.overview


def test_too_few_rounds_give_no_interval(tmp_path: Path) -> None:
    group = timed(tmp_path, tome=QUIET[:5], random=())
    assert speed_of_group(group) == [
        "2 speed-ups have no interval: too few rounds are known for one."
    ]


def test_nothing_is_said_where_no_speed_was_measured(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = make_run("tome", 40)
    store.write(make_result(run, make_rows(run)), make_rows(run))
    (group,) = findings_of(store).groups
    assert speed_of_group(group) == []
