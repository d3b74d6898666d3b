"""The charts of the HTML report in a real browser: pointed at, clicked and stepped through."""

from __future__ import annotations

from typing import Any

import pytest

from html_browser import (
    FOCUS,
    FRONT,
    MARKS,
    ROWS,
    Browser,
    browser_path,
    fill,
)

pytest.importorskip("selenium", reason="selenium is not installed")
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(browser_path() is None, reason="no Chromium with chromedriver on the path"),
]


def points_drawn(browser: Browser) -> list[Any]:
    """The marks of the runs, without the rings."""
    found: list[Any] = browser.driver.execute_script(
        "return [...document.querySelectorAll("
        "'#group-0 [data-part=cost] .mark-symbol.role-mark path')]"
        ".filter((each) => getComputedStyle(each).fill.startsWith('rgb(')"
        " && each.getAttribute('fill') !== 'transparent')"
    )
    return found


def test_the_chart_has_a_mark_for_each_run_and_a_ring_for_the_front(page: Browser) -> None:
    assert page.script(f"{MARKS}.length") == 10 + FRONT + FOCUS
    assert page.script(f"{ROWS}.length") == 10
    assert page.script(f"{ROWS}.filter((row) => row.textContent.includes('on front')).length") == 4


def test_the_pointer_over_a_point_shows_run_parameters_and_tokens(page: Browser) -> None:
    tip = "document.getElementById('tip').textContent"
    page.point_at(points_drawn(page)[1])
    page.wait("!document.getElementById('tip').hidden")
    shown = page.script("document.getElementById('tip').innerText").splitlines()
    assert shown[0] == "tome variant=0"
    assert shown[1] == "50%: 0.629 GMACs, 50.0 % of unpruned"
    assert shown[2] == "Top-1 61.92 % [59.93, 63.83]"
    assert shown[3].startswith("1800 images/s, 1.80 x unpruned")
    assert "Parameters: variant=0" in shown
    assert "Tokens after each block: 100.2, 100.1, 99.9, 99.8" in page.script(tip)
    assert "On the Pareto front" not in shown
    page.point_at(page.driver.find_element("css selector", "#group-0 h2"))
    page.wait("document.getElementById('tip').hidden")


def test_the_front_is_ringed_and_said_in_the_tip(page: Browser) -> None:
    tips = []
    for mark in points_drawn(page)[:4]:
        page.point_at(mark)
        page.wait("!document.getElementById('tip').hidden")
        text = page.script("document.getElementById('tip').innerText")
        tips.append((text.splitlines()[0], "On the Pareto front" in text))
    assert [name for name, on_front in tips if on_front] == ["random variant=0"] * 2
    rings = page.driver.execute_script(
        f"return [...{MARKS}].filter((each) => each.getAttribute('fill') === 'transparent')"
        ".map((each) => each.getAttribute('transform'))"
    )
    places = [mark.get_attribute("transform") for mark in points_drawn(page)]
    assert len(rings) == FRONT
    assert set(rings) <= set(places)
    page.script("document.querySelector('#group-0 .plot').scrollIntoView()")


def test_a_click_on_a_point_shows_where_it_comes_from(page: Browser) -> None:
    points_drawn(page)[1].click()
    page.wait("document.getElementById('origin').open")
    shown = page.script("document.getElementById('origin-title').textContent")
    assert shown == "tome variant=0"
    assert "--method 'tome variant=0' --budget 50%" in page.script(
        "document.querySelector('#origin code').textContent"
    )
    page.driver.find_element("xpath", "//dialog//button[text()='Close']").click()
    page.wait("!document.getElementById('origin').open")


def test_the_legend_shows_each_series_as_the_chart_draws_it(page: Browser) -> None:
    entries = page.script(
        "[...document.querySelectorAll('#group-0 [data-part=cost] .legend button')].map((each) => ["
        "each.textContent, getComputedStyle(each.querySelectorAll('path')[1]).fill])"
    )
    assert entries[0][0] == "full (unpruned)"
    fills = {mark.value_of_css_property("fill") for mark in points_drawn(page)}
    assert {fill for _, fill in entries} == fills
    assert len(fills) == 4


def test_intervals_can_be_switched_off(page: Browser) -> None:
    opacity = (
        "[...document.querySelectorAll('#group-0 [data-part=cost] .mark-rule.role-mark line')]"
        ".filter((each) => Number(getComputedStyle(each).strokeOpacity) > 0"
        " && Number(getComputedStyle(each).opacity) > 0 && !each.getAttribute('stroke-dasharray'))"
    )
    page.wait(f"{opacity}.length === 10")
    page.driver.find_element("css selector", "#group-0 .bars input").click()
    page.wait(f"{opacity}.length === 0")


def test_the_chart_of_tokens_shows_what_each_block_leaves(page: Browser) -> None:
    part = "#group-0 [data-part=tokens]"
    page.script(f"document.querySelector('{part}').scrollIntoView()")
    dots = f"document.querySelectorAll('{part} .mark-symbol.role-mark path')"
    page.wait(f"{dots}.length === 120")
    page.point_at(page.script(f"{dots}[0]"))
    page.wait("!document.getElementById('tip').hidden")
    text = page.script("document.getElementById('tip').innerText")
    assert "100.2 tokens after block 0" in text
    fill(page, "tome")
    page.wait(f"{dots}.length === 36")
    cells = page.script(
        f"[...document.querySelectorAll('{part} tbody tr')][0].cells[2].textContent"
    )
    assert cells == "100.2"


def test_arrow_keys_mark_the_point_they_are_on_and_leave_it(page: Browser) -> None:
    strong = f"[...{MARKS}].filter((each) => each.getAttribute('stroke-width') === '3')"
    page.script("document.querySelector('#group-0 .plot').focus()")
    page.press("\ue014")
    page.wait(f"{strong}.length === 1")
    first = page.script(f"{strong}[0].getAttribute('transform')")
    page.press("\ue014")
    page.wait(f"{strong}[0].getAttribute('transform') !== '{first}'")
    page.press("\ue012")
    page.wait(f"{strong}[0].getAttribute('transform') === '{first}'")
    page.press("\ue004")
    page.wait(f"{strong}.length === 0")
    assert page.script("document.getElementById('tip').hidden")


def test_arrow_keys_go_through_the_chart_and_enter_shows_where_a_run_is_from(page: Browser) -> None:
    page.script("document.querySelector('#group-0 .plot').focus()")
    page.press("\ue014", "\ue014")
    page.wait("!document.getElementById('tip').hidden")
    assert "variant=0" in page.script("document.getElementById('tip').textContent")
    page.press("\ue007")
    page.wait("document.getElementById('origin').open")
    assert "keeprate compare --model" in page.script(
        "document.getElementById('origin').textContent"
    )
    page.press("\ue00c")
    page.wait("!document.getElementById('origin').open")


def test_a_legend_entry_hides_its_runs(page: Browser) -> None:
    page.script("document.querySelectorAll('#group-0 .legend button')[1].click()")
    page.wait(f"{ROWS}.length === 7")
    pressed = "document.querySelectorAll('#group-0 .legend button')[1].getAttribute('aria-pressed')"
    assert page.script(pressed) == "false"
