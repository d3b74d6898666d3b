"""The HTML report in a real browser: it renders, filters, and needs neither mouse nor network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from html_browser import Browser, browser_path, browsing
from html_factory import make_findings
from keeprate.findings import Findings
from keeprate_reports.html_page import page_bytes
from test_html_report import EMPTY, NASTY, named

pytest.importorskip("selenium", reason="selenium is not installed")
pytestmark = pytest.mark.skipif(
    browser_path() is None, reason="no Chromium with chromedriver on the path"
)
GROUPS = (("deit_tiny", "imagenet"), ("digits_vit", "digits"))
ROWS = "[...document.querySelectorAll('#group-0 [data-part=runs] tbody tr')]"
MARKS = "document.querySelectorAll('#group-0 [data-part=cost] .mark-symbol.role-mark path')"
COUNT = "document.getElementById('count').textContent"
FRONT, FOCUS = 4, 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def show(browser: Browser, folder: Path, findings: Findings, width: int = 1280) -> None:
    path = folder / "report.html"
    path.write_bytes(page_bytes(findings))
    browser.open(path, width)


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    show(browser, tmp_path, make_findings(groups=GROUPS))
    browser.script("document.querySelector('#group-0 [data-part=cost]').scrollIntoView()")
    browser.wait(f"{MARKS}.length > 0")
    return browser


def press(browser: Browser, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser.driver).send_keys(*keys).perform()


def fill(browser: Browser, text: str) -> None:
    box = browser.driver.find_element("id", "find")
    box.clear()
    box.send_keys(text)


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
    assert {url.split(":")[0] for url in browser.requests()} <= {"file", "data"}


def test_the_chart_has_a_mark_for_each_run_and_a_ring_for_the_front(page: Browser) -> None:
    assert page.script(f"{MARKS}.length") == 10 + FRONT + FOCUS
    assert page.script(f"{ROWS}.length") == 10
    assert page.script(f"{ROWS}.filter((row) => row.textContent.includes('on front')).length") == 4


def test_typing_hides_points_and_rows(page: Browser) -> None:
    fill(page, "tome 65%")
    page.wait(f"{ROWS}.length === 1")
    page.wait(f"{MARKS}.length === 1")
    assert page.script(COUNT) == "2 of 20 runs"
    assert "tome" in page.script(f"{ROWS}[0].textContent")
    page.driver.find_element("css selector", "#filters [data-reset]").click()
    page.wait(f"{ROWS}.length === 10")


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


def test_a_legend_entry_hides_its_runs(page: Browser) -> None:
    page.script("document.querySelectorAll('#group-0 .legend button')[1].click()")
    page.wait(f"{ROWS}.length === 7")
    pressed = "document.querySelectorAll('#group-0 .legend button')[1].getAttribute('aria-pressed')"
    assert page.script(pressed) == "false"


def test_tables_are_sorted_with_the_keyboard(page: Browser) -> None:
    heads = "[...document.querySelectorAll('#group-0 [data-part=runs] thead button')]"
    page.script(f"{heads}.find((each) => each.textContent.startsWith('Top-1')).focus()")
    press(page, "\ue007")
    page.wait("document.querySelector('#group-0 th[aria-sort=descending]') !== null")
    assert page.script(f"{ROWS}[0].cells[0].textContent") == "full"
    press(page, "\ue007")
    assert "top-k" in page.script(f"{ROWS}[0].cells[0].textContent")


def test_tab_reaches_every_control_of_the_start_and_every_chart(page: Browser) -> None:
    page.script("window.scrollTo(0, 0)")
    page.script("document.querySelector('.skip').focus()")
    seen = set()
    for _ in range(60):
        seen.add(page.script("document.activeElement.id || document.activeElement.className"))
        press(page, "\ue004")
    assert {"skip", "theme", "find", "model", "data-set", "none", "plot tall"} <= seen
    untouched = page.script(
        "[...document.querySelectorAll('button, select, input, summary, a, .scroll')]"
        ".filter((each) => each.tabIndex < 0).length"
    )
    assert untouched == 0


def test_arrow_keys_go_through_the_chart_and_enter_shows_where_a_run_is_from(page: Browser) -> None:
    page.script("document.querySelector('#group-0 .plot').focus()")
    press(page, "\ue014", "\ue014")
    page.wait("!document.getElementById('tip').hidden")
    assert "variant=0" in page.script("document.getElementById('tip').textContent")
    press(page, "\ue007")
    page.wait("document.getElementById('origin').open")
    assert "keeprate compare --model" in page.script(
        "document.getElementById('origin').textContent"
    )
    press(page, "\ue00c")
    page.wait("!document.getElementById('origin').open")


def test_dark_by_the_system_and_by_the_button(page: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.script(paper)
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    page.command("Emulation.setEmulatedMedia", features=[scheme])
    try:
        page.wait(f"{paper} !== '{light}'")
        page.script("document.getElementById('theme').click()")
        page.wait(f"{paper} === '{light}'")
    finally:
        page.command("Emulation.setEmulatedMedia", features=[])
    assert page.problems() == []


@pytest.mark.parametrize("findings", [make_findings(groups=GROUPS), named("x" * 300)])
def test_a_phone_never_scrolls_sideways(
    findings: Findings, browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, findings, width=390)
    assert browser.script("document.documentElement.scrollWidth") <= 390


def test_names_are_never_read_as_html(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, named(NASTY))
    assert browser.script(f"{ROWS}[0].cells[0].textContent") == NASTY
    assert browser.script("document.querySelectorAll('img').length") == 0
    assert browser.problems() == []


def test_no_run_is_said_without_a_complaint(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, EMPTY)
    assert browser.script("document.getElementById('nothing').checkVisibility()")
    assert browser.problems() == []


def test_thousands_of_runs_stay_usable(browser: Browser, tmp_path: Path) -> None:
    budgets = [f"{share}%" for share in range(50, 100, 5)]
    found = make_findings([f"m{number}" for number in range(10)], budgets, variants=50)
    show(browser, tmp_path, found)
    assert browser.script(COUNT) == "5,001 of 5,001 runs"
    assert browser.script(f"{ROWS}.length") == 25
    fill(browser, "m3 variant=7 ")
    browser.wait(f"{COUNT} === '10 of 5,001 runs'")
    assert browser.problems() == []
