"""The figure of accuracy against cost: true to the findings, readable, and the page's own chart."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from html_factory import make_findings, make_published
from keeprate.analysis.build import findings_of
from keeprate.analysis.model import Findings, ReportOptions
from keeprate.results.store import Store
from keeprate_reports.accuracy_chart import chart
from keeprate_reports.accuracy_plot import AccuracyPlot
from keeprate_reports.chart_choice import OTHERS
from keeprate_reports.chart_looks import MUTED, SERIES, SeriesStyle, looks
from keeprate_reports.chart_places import side_by_side
from keeprate_reports.html_charts import score_chart
from keeprate_reports.html_payload import payload
from keeprate_reports.published_names import sides
from results_factory import fill, make_backbone, make_run, put

NASTY = "<script>alert('|`*_x_*`|')</script> & [a](b)\n# no heading"
RULE, BARS, LINES, FRONT, RINGS, POINTS = range(6)


@cache
def usual() -> Findings:
    return make_findings()


@cache
def many(methods: int = 10, variants: int = 50) -> Findings:
    budgets = [f"{share}%" for share in range(50, 100, 5)]
    names = [f"method{number}" for number in range(methods)]
    return make_findings(names, budgets, variants=variants)


@cache
def panel_of_most_series() -> dict[str, Any]:
    """The panel of as many series as are all drawn."""
    return panels(many(SERIES, 1))[0]


def panels(findings: Findings) -> list[dict[str, Any]]:
    """The panels of measured runs."""
    drawn: list[dict[str, Any]] = chart(findings).to_dict()["concat"]
    return [each["vconcat"][0] if "vconcat" in each else each for each in drawn]


def rows(findings: Findings, layer: int) -> list[dict[str, Any]]:
    specification = chart(findings).to_dict()
    panel = panels(findings)[0]["layer"][layer]
    found: list[dict[str, Any]] = specification["datasets"][panel["data"]["name"]]
    return found


def test_it_has_the_rule_intervals_lines_the_front_and_points_from_back_to_front() -> None:
    layers = panels(usual())[0]["layer"]
    assert layers[RULE]["mark"]["strokeDash"]
    assert [layers[BARS]["mark"]["type"], layers[BARS]["encoding"]["y2"]["field"]] == [
        "rule",
        "high",
    ]
    assert [layers[LINES]["mark"]["type"], layers[FRONT]["mark"]["type"]] == ["line", "line"]
    assert [layers[RINGS]["mark"]["filled"], layers[POINTS]["mark"]["filled"]] == [False, True]
    x, y = (layers[POINTS]["encoding"][axis] for axis in "xy")
    assert x["title"] == "Multiply-accumulates per image (GMACs)"
    assert y["title"] == "Top-1 (%)"
    assert y["scale"]["zero"] is False


def test_the_page_draws_the_same_layers_with_other_data_and_inks() -> None:
    """But for where rows are and what only the page has, the two definitions are one."""
    findings = usual()
    panel = panels(findings)[0]
    keys = looks([f"{name} variant=0" for name in ("random", "tome", "top-k")], ["full (unpruned)"])
    page: Any = score_chart("cost", "Multiply-accumulates per image (GMACs)", "Top-1 (%)", keys)
    assert len(page["layer"]) == len(panel["layer"]) + 1
    for drawn, shown in zip(panel["layer"], page["layer"], strict=False):
        assert plain(drawn) == plain(shown)
    assert {each["name"] for each in page["params"]} >= {"ink", "paper", "bars"}


def plain(layer: Any) -> Any:
    """A layer without what a file and the page are told apart by."""
    if isinstance(layer, list):
        return [plain(each) for each in layer]
    if not isinstance(layer, dict):
        return "ink" if layer in ("black", "white") else layer
    if set(layer) == {"expr"}:
        return "ink"
    apart = {
        "data",
        "legend",
        "opacity",
        "tooltip",
        "axis",
        "domain",
        "nice",
        "zero",
        "padding",
        "name",
    }
    return {
        name: plain(value) for name, value in layer.items() if name not in apart or name == "mark"
    }


@pytest.mark.slow
def test_points_are_the_findings_and_all_rings_are_on_the_front() -> None:
    findings = usual()
    points = findings.groups[0].points
    drawn = rows(findings, POINTS)
    assert [row["score"] for row in drawn] == [point.score.value for point in points]
    assert [row["low"] for row in drawn] == [point.score.low for point in points]
    assert [row["front"] for row in drawn] == [point.on_front for point in points]
    assert len(rows(findings, RINGS)) == 4


def test_42_looks_differ_and_none_is_that_of_published_results() -> None:
    found = looks([f"m{number}" for number in range(42)], ["full"])
    assert (found[0].key, found[0].colour) == ("full", None)
    assert len({(look.colour, look.shape) for look in found}) == 43
    assert MUTED not in {look.colour for look in found}
    lines = {(look.colour, look.dash) for look in found[1 : SERIES + 1]}
    assert len(lines) == SERIES


def test_lines_of_one_colour_are_dashed_apart() -> None:
    panel = panel_of_most_series()
    conditions = panel["layer"][LINES]["encoding"]["strokeDash"]["condition"]
    assert [len(each["test"]["oneOf"]) for each in conditions] == [6, 2]


def test_every_look_can_be_drawn_beside_its_name() -> None:
    for look in looks([f"m{number}" for number in range(SERIES)], ["full"]):
        assert isinstance(look, SeriesStyle)
        assert look.path.startswith("M")


@pytest.mark.slow
def test_of_hundreds_of_series_it_draws_a_few_and_says_what_it_leaves_out() -> None:
    findings = many()
    panel = panels(findings)[0]
    names = panel["layer"][POINTS]["encoding"]["color"]["scale"]["domain"]
    assert len(names) == SERIES + 1
    assert names[0] == "full (unpruned)"
    assert "method0 variant=0" in names
    assert panel["title"]["subtitle"][-1] == (
        "Not drawn: 4,860 runs of 486 series with fewer runs or worse scores; "
        "table.csv and report.html have them."
    )
    assert len(rows(findings, POINTS)) == SERIES * 10 + 1


def test_few_series_are_all_drawn_and_nothing_is_said_to_be_left_out() -> None:
    panel = panel_of_most_series()
    assert not any("Not drawn" in line for line in panel["title"]["subtitle"])


@pytest.mark.slow
def test_of_series_left_out_the_runs_on_the_front_are_drawn() -> None:
    findings = many(20, 1)
    points = tuple(replace(point, on_front=True) for point in findings.groups[0].points)
    changed = replace(findings, groups=(replace(findings.groups[0], points=points),))
    assert len(rows(changed, RINGS)) == len(points)
    others = [row for row in rows(changed, POINTS) if row["key"] == OTHERS]
    assert len(others) == (20 - SERIES) * 10
    assert all(row["line"] == "" for row in others)
    assert not {row["key"] for row in rows(changed, LINES)} & {OTHERS}
    domain = panels(changed)[0]["layer"][POINTS]["encoding"]["color"]["scale"]["domain"]
    assert domain[-1] == OTHERS


@pytest.mark.slow
def test_the_series_with_most_runs_are_drawn_before_the_more_accurate() -> None:
    findings = many(SERIES + 1, 1)
    group = findings.groups[0]
    weak = f"method{SERIES} variant=0"
    better = "method3 variant=0"
    kept = [p for p in group.points if p.series != better or p.asked == "95%"]
    changed = replace(findings, groups=(replace(group, points=tuple(kept)),))
    names = {row["key"] for row in rows(changed, POINTS)}
    assert weak in names
    assert better not in names


@pytest.mark.slow
def test_of_many_groups_those_with_most_runs_have_a_panel() -> None:
    findings = many(2, 1)
    group = findings.groups[0]
    fewer = replace(group, title="fewer", points=group.points[:5])
    many_groups = (fewer, *(replace(group, title=f"group {number}") for number in range(14)))
    specification = chart(replace(findings, groups=many_groups)).to_dict()
    upper = [each.get("vconcat", [each])[0] for each in specification["concat"]]
    titles = [each["title"]["text"] for each in upper]
    assert titles == [f"group {number}" for number in range(12)]
    assert specification["title"]["text"] == ("12 of 15 models and data sets, those with most runs")
    assert "title" not in chart(findings).to_dict()


@pytest.mark.slow
def test_figures_of_thousands_of_runs_are_small_files(tmp_path: Path) -> None:
    paths = AccuracyPlot().write(many(), tmp_path)
    assert all(path.stat().st_size < 1_000_000 for path in paths)


def test_runs_of_one_cost_are_side_by_side_about_it_and_in_order() -> None:
    places = side_by_side([100.0] * 6 + [180.0])
    assert len(set(places)) == 7
    assert sum(places[:6]) / 6 == pytest.approx(100)
    assert places == sorted(places)
    assert places[-1] == 180.0
    assert max(places[:6]) - min(places[:6]) <= 48


def test_crowds_stay_clear_of_one_another() -> None:
    places = side_by_side([100.0] * 14 + [140.0] * 14)
    assert places[14] - places[13] > 1.5 * (places[13] - places[12])
    assert sum(places[:14]) / 14 == pytest.approx(100)


def test_runs_that_have_room_stay_where_they_are() -> None:
    assert side_by_side([1.0, 20.0, 40.0]) == [1.0, 20.0, 40.0]


def test_points_lie_within_the_axis(tmp_path: Path) -> None:
    store = fill(tmp_path, {f"m{number:02d}": (40,) for number in range(12)})
    findings = findings_of(store)
    low, high = panels(findings)[0]["layer"][POINTS]["encoding"]["x"]["scale"]["domain"]
    places = sorted(row["cost"] for row in rows(findings, POINTS))
    assert low < places[0]
    assert places[-1] < high
    assert sum(places[:12]) / 12 == pytest.approx(findings.groups[0].points[0].macs / 1e6)


def test_published_points_have_axes_of_their_own_and_say_what_they_are() -> None:
    drawn = chart(usual()).to_dict()["concat"][0]["vconcat"]
    marks, *names = drawn[1]["layer"]
    assert drawn[1]["title"]["text"] == "deit_tiny as published, fine-tuned, not measured here"
    assert marks["encoding"]["x"]["field"] == "share"
    assert marks["encoding"]["color"]["value"] == MUTED
    assert {name["encoding"]["text"]["field"] for name in names} == {"name"}


def test_results_of_different_trainings_are_never_on_one_axis() -> None:
    trained = make_published()
    plain = replace(trained, training="off-the-shelf", top1_percent=70.0)
    unknown = replace(trained, training="searched", share_percent=None)
    findings = make_findings()
    group = replace(findings.groups[0], published=(plain, trained, unknown))
    changed = replace(findings, groups=(group,))
    specification = chart(changed).to_dict()
    _, *printed = specification["concat"][0]["vconcat"]
    names = [panel["layer"][0]["data"]["name"] for panel in printed]
    drawn = [[row["top1"] for row in specification["datasets"][name]] for name in names]
    assert drawn == [[70.0], [71.9]]
    page: dict[str, Any] = payload(changed)
    assert list(page["groups"][0]["charts"]["published"]) == ["off-the-shelf", "fine-tuned"]


def test_points_read_off_a_figure_are_not_drawn() -> None:
    findings = usual()
    read = replace(make_published(), read_off=True)
    changed = replace(findings, groups=(replace(findings.groups[0], published=(read,)),))
    assert "vconcat" not in chart(changed).to_dict()["concat"][0]


def test_names_of_published_points_do_not_lie_on_one_another() -> None:
    points = [
        replace(make_published(), share_percent=share, top1_percent=top1)
        for share, top1 in ((50, 70.0), (70, 75.0), (70, 75.0), (70, 75.0), (100, 80.0))
    ]
    assert sides(points, 500, 200) == ["right", "right", "left", "", "left"]
    apart = [replace(point, top1_percent=70.0 + at) for at, point in enumerate(points)]
    assert "" not in sides(apart, 500, 200)


def test_each_group_has_a_panel_and_they_share_one_legend(tmp_path: Path) -> None:
    store = fill(tmp_path)
    put(store, make_run("tome", 30, backbone=make_backbone("other", "00")))
    specification = chart(findings_of(store)).to_dict()
    assert len(specification["concat"]) == 2
    assert specification["resolve"]["scale"] == {"color": "shared", "shape": "shared"}
    findings = findings_of(store)
    (alone,) = [group for group in findings.groups if not group.unpruned]
    (panel,) = panels(replace(findings, groups=(alone,)))
    assert "Dashed" not in panel["title"]["subtitle"][0]


def test_the_note_says_the_level_of_the_intervals() -> None:
    findings = replace(usual(), options=ReportOptions(level=0.9))
    assert panels(findings)[0]["title"]["subtitle"][0].startswith("Bars: 90 % intervals.")


def test_the_svg_shows_any_name_as_text(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    put(store, make_run("full"))
    put(store, make_run(NASTY, 40))
    svg, png, pdf = AccuracyPlot().write(findings_of(store), tmp_path)
    content = svg.read_text(encoding="utf-8")
    assert "<script" not in content
    assert "alert(" in "".join(ElementTree.fromstring(content).itertext())
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
