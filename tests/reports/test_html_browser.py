"""The HTML report in a real browser: it renders, filters, and needs neither mouse nor network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from html_browser import (
    COUNT,
    GROUPS,
    MARKS,
    ROWS,
    Browser,
    browser_path,
    fill,
    show,
)
from html_factory import make_findings
from html_pages import EMPTY, NASTY, named
from keeprate.analysis.model import Findings

pytest.importorskip("selenium", reason="selenium is not installed")
pytestmark = pytest.mark.skipif(
    browser_path() is None, reason="no Chromium with chromedriver on the path"
)


def test_it_renders_without_a_complaint_and_without_the_network(
    browser: Browser, tmp_path: Path
) -> None:
    browser.command("Network.enable")
    browser.requests()
    show(browser, tmp_path, make_findings(groups=GROUPS))
    for part in ("cost", "speed", "published", "tokens"):
        browser.script(f"document.querySelector('#group-0 [data-part={part}]').scrollIntoView()")
        browser.wait(f"document.querySelector('#group-0 [data-part={part}] svg.marks') !== null")
    assert browser.problems() == []
    asked = browser.requests()
    assert [url for url in asked if not url.startswith("data:")] == [
        (tmp_path / "report.html").as_uri()
    ]
    assert browser.script("performance.getEntriesByType('resource').length") == 0


@pytest.mark.slow
def test_a_table_is_sorted_by_numbers_both_ways_and_by_words(page: Browser) -> None:
    heads = "[...document.querySelectorAll('#group-0 [data-part=runs] thead button')]"
    costs = f"{ROWS}.map((row) => Number(row.cells[2].textContent))"
    names = f"{ROWS}.map((row) => row.cells[0].textContent)"
    page.script(f"{heads}[2].click()")
    assert page.script(costs) == sorted(page.script(costs), reverse=True)
    page.script(f"{heads}[2].click()")
    assert page.script(costs) == sorted(page.script(costs))
    shares = f"{ROWS}.map((row) => Number(row.cells[3].textContent))"
    page.script(f"{heads}[3].click()")
    assert page.script(shares)[0] == 100
    assert page.script(shares) == sorted(page.script(shares), reverse=True)
    page.script(f"{heads}[0].click()")
    assert page.script(names) == sorted(page.script(names))
    assert page.script(f"{heads}.map((each) => each.parentElement.ariaSort)").count("none") == 9


@pytest.mark.slow
def test_a_command_is_copied_whole(page: Browser) -> None:
    page.command("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    button = "document.querySelector('#group-0 [data-copy]')"
    page.script(f"{button}.scrollIntoView({{block: 'center'}})")
    page.script(button).click()
    page.wait(f"{button}.textContent === 'Copied'")
    copied = page.driver.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    )
    assert copied == "keeprate compare --model deit_tiny --data imagenet"


@pytest.mark.slow
def test_typing_hides_points_and_rows(page: Browser) -> None:
    fill(page, "tome 65%")
    page.wait(f"{ROWS}.length === 1")
    page.wait(f"{MARKS}.length === 1")
    assert page.script(COUNT) == "2 of 20 runs"
    assert "tome" in page.script(f"{ROWS}[0].textContent")
    page.driver.find_element("css selector", "#filters [data-reset]").click()
    page.wait(f"{ROWS}.length === 10")


@pytest.mark.slow
def test_a_method_a_model_and_a_data_set_can_be_left_out(page: Browser) -> None:
    page.driver.find_element("css selector", "#methods [value=random]").click()
    page.wait(f"{ROWS}.length === 7")
    page.wait(f"{MARKS}.length === 7 + 1")
    for select, value in (("model", "digits_vit"), ("data-set", "digits")):
        page.script(f"document.querySelector('#{select}').value = '{value}'")
        page.script(f"document.querySelector('#{select}').dispatchEvent(new Event('change'))")
        page.wait("document.getElementById('group-0').hidden")
        assert page.script("document.getElementById('group-1').hidden") is False
    page.script("document.querySelector('#model').value = 'deit_tiny'")
    page.script("document.querySelector('#model').dispatchEvent(new Event('change'))")
    page.wait("!document.getElementById('no-match').hidden")


@pytest.mark.slow
def test_tables_are_sorted_with_the_keyboard(page: Browser) -> None:
    heads = "[...document.querySelectorAll('#group-0 [data-part=runs] thead button')]"
    page.script(f"{heads}.find((each) => each.textContent.startsWith('Top-1')).focus()")
    page.press("\ue007")
    page.wait("document.querySelector('#group-0 th[aria-sort=descending]') !== null")
    assert page.script(f"{ROWS}[0].cells[0].textContent") == "full"
    page.press("\ue007")
    assert "top-k" in page.script(f"{ROWS}[0].cells[0].textContent")


@pytest.mark.slow
def test_dark_by_the_system_and_by_the_button(page: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.script(paper)
    page.prefer("dark")
    page.wait(f"{paper} !== '{light}'")
    page.script("document.getElementById('theme').click()")
    page.wait(f"{paper} === '{light}'")
    assert page.problems() == []


@pytest.mark.slow
@pytest.mark.parametrize("findings", [make_findings(groups=GROUPS), named("x" * 300)])
def test_a_phone_never_scrolls_sideways(
    findings: Findings, browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, findings, width=390)
    assert browser.script("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_names_are_never_read_as_html(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, named(NASTY))
    assert browser.script(f"{ROWS}[0].cells[0].textContent") == NASTY
    assert browser.script("document.querySelectorAll('img').length") == 0
    for part in ("cost", "speed", "published", "tokens"):
        browser.script(f"document.querySelector('#group-0 [data-part={part}]').scrollIntoView()")
        browser.wait(f"document.querySelector('#group-0 [data-part={part}] svg.marks') !== null")
    assert browser.problems() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["<script>alert(1)</script>", NASTY])
def test_a_name_is_text_in_legends_tooltips_tables_and_dialogs(
    browser: Browser, tmp_path: Path, name: str
) -> None:
    found = named(name)
    printed = replace(found.groups[0].published[0], method=name)
    found = replace(found, groups=(replace(found.groups[0], published=(printed,)),))
    show(browser, tmp_path, found)
    scripts = browser.script("document.scripts.length")
    browser.script("document.querySelector('#group-0 [data-part=cost]').scrollIntoView()")
    browser.wait(f"{MARKS}.length > 0")
    legend = "document.querySelector('#group-0 [data-part=cost] .legend').textContent"
    assert name in browser.script(legend)
    browser.script("document.querySelector('#group-0 .plot').focus()")
    browser.press("\ue014")
    browser.wait("!document.getElementById('tip').hidden")
    assert browser.script("document.querySelector('#tip b').textContent") == name
    browser.press("\ue007")
    browser.wait("document.getElementById('origin').open")
    assert browser.script("document.getElementById('origin-title').textContent") == name
    browser.script("document.getElementById('origin').close()")
    part = "#group-0 [data-part=published]"
    browser.script(f"document.querySelector('{part}').scrollIntoView()")
    browser.wait(f"document.querySelector('{part} svg.marks') !== null")
    shown = browser.script(f"document.querySelector('{part} svg .role-legend').textContent")
    assert shown[:8] == name[:8]
    assert browser.script("document.scripts.length") == scripts
    assert browser.problems() == []


@pytest.mark.slow
def test_no_run_is_said_without_a_complaint(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, EMPTY)
    assert browser.script("document.getElementById('nothing').checkVisibility()")
    assert browser.problems() == []


@pytest.mark.slow
def test_thousands_of_runs_stay_usable(browser: Browser, tmp_path: Path) -> None:
    budgets = [f"{share}%" for share in range(50, 100, 5)]
    found = make_findings([f"m{number}" for number in range(10)], budgets, variants=50)
    show(browser, tmp_path, found)
    assert (tmp_path / "report.html").stat().st_size < 6_000_000
    assert browser.script(COUNT) == "5,001 of 5,001 runs"
    assert browser.script(f"{ROWS}.length") == 25
    fill(browser, "m3 variant=7 ")
    browser.wait(f"{COUNT} === '10 of 5,001 runs'")
    assert browser.problems() == []
