"""The HTML report is one file that is whole, safe and small, whatever the findings hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from html_factory import make_findings
from html_pages import EMPTY, NASTY, Page, named, unpacked
from keeprate.analysis.build import findings_of
from keeprate.results.store import Store
from keeprate_reports.chart_looks import looks
from keeprate_reports.html_packing import packed, script_json
from keeprate_reports.html_page import page, page_bytes
from keeprate_reports.html_report import HtmlReport
from results_factory import fill, make_run, put

MEGABYTES = 1_000_000


def test_it_writes_one_file_that_a_browser_reads_as_utf_8(tmp_path: Path) -> None:
    (path,) = HtmlReport().write(findings_of(fill(tmp_path / "store")), tmp_path)
    assert path == tmp_path / "report.html"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert len(unpacked(Page(text).payload["groups"][0]["points"])) == 5


def test_half_a_character_keeps_no_report_from_being_written() -> None:
    assert "vit é &#55296;" in page_bytes(named("vit é \ud800")).decode("utf-8")


def test_the_data_are_the_findings() -> None:
    found = make_findings()
    (group,) = Page(page(found)).payload["groups"]
    rows = unpacked(group["points"])
    assert [row["run_id"] for row in rows] == [point.run_id for point in found.groups[0].points]
    for row, point in zip(rows, found.groups[0].points, strict=True):
        assert row["score"] == pytest.approx(point.score.value, rel=1e-6)
        assert row["macs"] == pytest.approx(point.macs / 1e9, rel=1e-6)
        assert row["front"] is point.on_front
    assert [row["run_id"] for row in unpacked(group["provenance"])] == [r["run_id"] for r in rows]
    assert len(group["equal_cost"]) == 3
    assert [row["winner"] for row in unpacked(group["ablations"][0]["settings"])] == [True, False]


def test_the_best_is_bold_only_where_nothing_is_level_with_it() -> None:
    found = make_findings()
    table = found.groups[0].equal_cost[0]
    level = tuple(replace(rival, level_with_best=True) for rival in table.rivals)
    for rivals, standings in (
        (table.rivals, ["best", "", ""]),
        (level, ["first", "level", "level"]),
    ):
        changed = replace(found.groups[0], equal_cost=(replace(table, rivals=rivals),))
        (group,) = Page(page(replace(found, groups=(changed,)))).payload["groups"]
        shown = unpacked(group["equal_cost"][0]["rivals"])
        assert [row["standing"] for row in shown] == standings


def test_nothing_is_loaded_and_only_its_own_scripts_may_run() -> None:
    text = page(make_findings())
    found = Page(text)
    policy = dict(found.attributes)["content"]
    rules = [value for name, value in found.attributes if name == "content" and value]
    assert any(rule.startswith("default-src 'none'; script-src 'sha256-") for rule in rules)
    assert "unsafe" not in " ".join(rules), policy
    assert not {"iframe", "object", "embed", "img", "base"} & set(found.tags)
    links = [value for name, value in found.attributes if name in ("src", "href", "action")]
    assert all(str(link).startswith(("#", "data:,")) for link in links)


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", [NASTY, "a\nb", "\u2028</SCRIPT >", "]]>", "{% raw %}", ""])
def test_any_name_is_shown_as_text(name: str) -> None:
    check_shown(name)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=40))
def test_made_up_names_are_shown_as_text(name: str) -> None:
    check_shown(name)


@cache
def plain_tags() -> list[str]:
    return Page(page(named("plain"))).tags


def check_shown(name: str) -> None:
    found = Page(page(named(name)))
    assert found.tags == plain_tags()
    assert " ".join(name.split()) in found.text
    rows = unpacked(found.payload["groups"][0]["points"])
    assert {row["label"] for row in rows} == {name}
    assert "<" not in found.data


def test_a_single_run_gives_a_whole_page(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, make_run("full"))
    found = Page(page(findings_of(store)))
    assert "1 run in 1 comparison, made" in found.text
    (group,) = found.payload["groups"]
    assert [row["method"] for row in unpacked(group["points"])] == ["full"]
    assert group["unit"] == "MMACs"


def test_without_an_unpruned_run_the_page_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, make_run("tome", 40))
    found = Page(page(findings_of(store)))
    assert "43.250 MMACs, not run" in found.text
    assert found.payload["groups"][0]["unpruned"] is None


def test_no_run_is_said_clearly() -> None:
    found = Page(page(EMPTY))
    assert "There is no finished run to show. keeprate compare makes some." in found.text
    assert "0 runs in 0 comparisons" in found.text
    assert ("id", "filters") not in found.attributes
    assert found.payload["groups"] == []


def test_failures_skipped_samples_and_problems_are_there() -> None:
    found = Page(page(make_findings()))
    assert "old-1.json: has format_version 0" in found.text
    assert unpacked(found.payload["failures"])[0]["error"] == "no tokens left"
    assert unpacked(found.payload["groups"][0]["skipped"])[0]["reason"] == "truncated"


@pytest.mark.slow
def test_thousands_of_runs_stay_small() -> None:
    budgets = [f"{share}%" for share in range(50, 100, 5)]
    found = make_findings([f"method{number}" for number in range(10)], budgets, variants=50)
    text = page(found)
    assert len(found.groups[0].points) == 5001
    assert len(text.encode()) < 6 * MEGABYTES
    (group,) = Page(text).payload["groups"]
    assert len(group["looks"]) == 11


def test_where_speed_was_not_measured_there_is_no_chart_of_it() -> None:
    for speeds in (True, False):
        (group,) = Page(page(make_findings(speeds=speeds))).payload["groups"]
        assert ("speed" in group["charts"]) is speeds


def test_figures_that_json_has_not_are_texts() -> None:
    text = script_json({"kl": [float("inf"), float("nan"), 1 / 3], "<a>": "&"})
    assert json.loads(text) == {"kl": ["inf", "nan", 0.333333], "<a>": "&"}
    assert not re.search("[<>&]", text)


def test_packing_writes_once_what_repeats() -> None:
    rows = [{"name": name, "macs": macs} for macs, name in enumerate(("a", "b", "a", "a", "b"))]
    assert packed(rows)["columns"] == {
        "name": {"of": ["a", "b"], "at": [0, 1, 0, 0, 1]},
        "macs": [0, 1, 2, 3, 4],
    }
    assert packed([{"macs": 1.5}, {"macs": 1.5}])["columns"] == {"macs": {"of": [1.5]}}
    assert packed([{"macs": 1.5}])["columns"] == {"macs": [1.5]}
    begins = "keeprate compare --model vit --data digits --method tome --budget "
    alike = [{"command": f"{begins}{budget}%"} for budget in (80, 65)]
    assert packed(alike)["columns"] == {"command": {"prefix": begins, "rest": ["80%", "65%"]}}
    assert packed([]) == {"rows": 0, "columns": {}}


def test_42_keys_look_different_and_the_unpruned_model_has_the_colour_of_text() -> None:
    found = looks([f"m{number}" for number in range(42)], ["full"])
    assert (found[0].key, found[0].colour) == ("full", None)
    assert len({(look.colour, look.shape) for look in found}) == 43
