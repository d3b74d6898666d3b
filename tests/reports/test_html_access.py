"""The HTML report for everyone, in a real browser: keys alone, screen readers, enough contrast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from html_browser import Browser, browser_path, show
from html_factory import make_findings

pytest.importorskip("selenium", reason="selenium is not installed")
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(browser_path() is None, reason="no Chromium with chromedriver on the path"),
]
TAB, ENTER, ESCAPE, SPACE, DOWN, BACK = (
    "\ue004",
    "\ue007",
    "\ue00c",
    " ",
    "\ue015",
    "\ue003",
)
CONTROLS = """[...document.querySelectorAll(
    'a[href], button, select, input, summary, [tabindex="0"]')]
    .filter((each) => !each.disabled && each.checkVisibility())"""
ROWS = "[...document.querySelectorAll('#group-0 [data-part=runs] tbody tr')]"
CONTRAST = """
const parse = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
const over = ([r, g, b, a = 1], [x, y, z]) =>
  [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a)];
const light = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((each) => each / 255)
    .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  if (!element) return [255, 255, 255];
  const own = parse(getComputedStyle(element).backgroundColor);
  return own[3] === undefined ? own : over(own, ground(element.parentElement));
};
const ratio = (element) => {
  const style = getComputedStyle(element);
  const colour = element instanceof SVGElement ? style.fill : style.color;
  const back = ground(element);
  const [one, other] = [light(over(parse(colour), back)), light(back)].sort((a, b) => b - a);
  return (one + 0.05) / (other + 0.05);
};
const written = (element) =>
  [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
return [...document.body.querySelectorAll('*')]
  .filter((each) => each.checkVisibility() && written(each) && !each.closest('script, option'))
  .filter((each) => !each.disabled)
  .map((each) => [ratio(each), each.tagName, each.textContent.slice(0, 30)]);
"""


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    show(browser, tmp_path, make_findings(budgets=("80%", "50%")))
    return browser


def drawn(browser: Browser, part: str) -> None:
    """Scroll to a part and wait for its chart."""
    browser.script(f"document.querySelector('#group-0 [data-part={part}]').scrollIntoView()")
    browser.wait(f"document.querySelector('#group-0 [data-part={part}] svg.marks') !== null")


def tab_to(browser: Browser, expression: str) -> None:
    """Press Tab until an element has the focus, from the start of the page."""
    browser.script("document.activeElement.blur()")
    browser.script("window.getSelection().collapse(document.body, 0)")
    for _ in range(400):
        browser.press(TAB)
        if browser.script(f"document.activeElement === {expression}"):
            return
    raise AssertionError(f"Tab never reaches {expression}")


def test_tab_goes_through_every_control_in_order_and_never_hides_where_it_is(page: Browser) -> None:
    for part in ("cost", "speed", "published", "tokens"):
        drawn(page, part)
    page.script("window.scrollTo(0, 0)")
    expected = page.script(f"{CONTROLS}.length")
    page.script(f"({CONTROLS}).forEach((each, at) => {{ each.dataset.at = at; }})")
    seen, hidden = [], []
    for _ in range(expected):
        page.press(TAB)
        found: dict[str, Any] = page.driver.execute_script(STOP)
        seen.append(found["at"])
        if not (found["outline"] and found["inside"] and found["clear"]):
            hidden.append(found)
    assert seen == list(range(expected))
    assert hidden == []
    page.press(TAB)
    assert page.script("document.activeElement === document.body"), "the focus is trapped"


def test_going_back_with_shift_and_tab_hides_nothing_behind_the_filters(page: Browser) -> None:
    for part in ("cost", "published", "tokens"):
        drawn(page, part)
    page.script("document.querySelector('#missing').scrollIntoView()")
    last = "[...document.querySelectorAll('#group-0 [data-copy]')].at(-1)"
    page.script(f"{last}.focus()")
    hidden, stops = [], 0
    while page.script("document.activeElement.id !== 'theme'"):
        page.tab_back()
        found: dict[str, Any] = page.driver.execute_script(STOP)
        stops += 1
        if not (found["outline"] and found["inside"] and found["clear"]):
            hidden.append(found)
    assert stops > 40
    assert hidden == []


def test_what_a_link_leads_to_is_not_behind_the_filters(page: Browser) -> None:
    page.driver.find_element("css selector", "nav a[href='#group-0']").click()
    bottom = "document.getElementById('filters').getBoundingClientRect().bottom"
    page.wait("document.querySelector('#group-0').getBoundingClientRect().top < 300")
    title = "document.getElementById('group-0-title').getBoundingClientRect().top"
    assert page.script(title) >= page.script(bottom)


STOP = """
const here = document.activeElement;
const style = getComputedStyle(here);
const box = here.getBoundingClientRect();
const [top, bottom] = [Math.max(box.top, 0), Math.min(box.bottom, window.innerHeight)];
const over = document.elementFromPoint(
  (Math.max(box.left, 0) + Math.min(box.right, window.innerWidth)) / 2,
  Math.min(top + 6, (top + bottom) / 2));
return {
  at: here.dataset.at === undefined ? here.outerHTML.slice(0, 90) : Number(here.dataset.at),
  outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
    && style.outlineColor !== getComputedStyle(document.body).backgroundColor,
  inside: bottom > top && box.right > 0 && box.left < window.innerWidth,
  clear: over !== null && (here.contains(over) || over.contains(here) || !!over.closest('label')),
  text: here.outerHTML.slice(0, 90), over: over && over.outerHTML.slice(0, 90),
};
"""


def test_what_has_no_focus_has_no_outline(page: Browser) -> None:
    outlined = f"{CONTROLS}.filter((each) => getComputedStyle(each).outlineStyle !== 'none').length"
    assert page.script(outlined) == 0


def test_the_first_tab_offers_to_skip_to_the_results(page: Browser) -> None:
    assert page.script("document.querySelector('.skip').getBoundingClientRect().right") < 0
    page.press(TAB)
    assert page.script("document.activeElement.className") == "skip"
    assert page.script("document.activeElement.getBoundingClientRect().left") >= 0
    page.press(ENTER)
    page.wait("document.activeElement.id === 'main'")
    page.press(TAB)
    assert page.script("document.activeElement.id") == "find"


def test_filters_work_with_keys_alone(page: Browser) -> None:
    tab_to(page, "document.getElementById('find')")
    page.press("tome")
    page.wait(f"{ROWS}.length === 2")
    page.press(*[BACK] * 4)
    page.wait(f"{ROWS}.length === 7")
    tab_to(page, "document.querySelector('#methods [value=tome]')")
    page.press(SPACE)
    page.wait(f"{ROWS}.length === 5")
    tab_to(page, "document.getElementById('none')")
    page.press(ENTER)
    page.wait("!document.getElementById('no-match').hidden")
    tab_to(page, "document.querySelector('#filters [data-reset]')")
    page.press(ENTER)
    page.wait(f"{ROWS}.length === 7")
    assert page.script("document.querySelector('#methods [value=tome]').checked")


def test_a_model_is_picked_with_keys_alone(browser: Browser, tmp_path: Path) -> None:
    groups = (("deit_tiny", "imagenet"), ("digits_vit", "digits"))
    show(browser, tmp_path, make_findings(groups=groups, budgets=("80%",)))
    tab_to(browser, "document.getElementById('model')")
    browser.press(DOWN, DOWN, ENTER)
    browser.wait("document.getElementById('group-0').hidden")
    assert browser.script("document.getElementById('model').value") == "digits_vit"


def test_a_table_is_sorted_and_a_run_opened_with_keys_alone(page: Browser) -> None:
    head = "[...document.querySelectorAll('#group-0 [data-part=runs] thead button')][4]"
    tab_to(page, head)
    page.press(ENTER)
    page.wait("document.querySelector('#group-0 th[aria-sort=descending]') !== null")
    page.press(SPACE)
    page.wait("document.querySelector('#group-0 th[aria-sort=ascending]') !== null")
    first = f"{ROWS}[0].querySelector('button')"
    tab_to(page, first)
    page.press(ENTER)
    page.wait("document.getElementById('origin').open")
    for _ in range(8):
        page.press(TAB)
        outside = (
            "document.activeElement !== document.body && !document.activeElement.closest('#origin')"
        )
        assert not page.script(outside)
    page.press(ESCAPE)
    page.wait("!document.getElementById('origin').open")
    assert page.script(f"document.activeElement === {first}")


def test_every_control_has_a_name(page: Browser) -> None:
    for part in ("cost", "speed", "tokens"):
        drawn(page, part)
    page.driver.execute_script("document.querySelector('#group-0 .open').click()")
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "region", "dialog"}
    found = [node for node in nodes if node.get("role", {}).get("value") in roles]
    nameless = [node for node in found if not node.get("name", {}).get("value", "").strip()]
    assert len(found) >= 3
    assert nameless == []
    page.press(ESCAPE)
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    found = [node for node in nodes if node.get("role", {}).get("value") in roles]
    assert len(found) > 50
    assert [node for node in found if not node.get("name", {}).get("value", "").strip()] == []
    names = "[...document.querySelectorAll('[tabindex=\"0\"]')].map((each) => each.ariaLabel)"
    assert all(page.script(names))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(page: Browser, scheme: str) -> None:
    page.prefer(scheme)
    for part in ("cost", "published", "tokens"):
        drawn(page, part)
    page.driver.execute_script("document.querySelector('#group-0 .plot').focus()")
    page.press("\ue014")
    page.wait("!document.getElementById('tip').hidden")
    found = page.driver.execute_script(CONTRAST)
    tags = {"H1", "P", "TD", "BUTTON", "A", "FIGCAPTION", "text", "DD", "B"}
    assert tags <= {tag for _, tag, _ in found}
    assert len(found) > 100
    assert [each for each in found if each[0] < 4.5] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_drawn_in_ink_stands_out_in_a_chart(page: Browser, scheme: str) -> None:
    page.script(f"document.documentElement.dataset.theme = '{scheme}'")
    page.script("document.getElementById('theme').click()")
    page.script("document.getElementById('theme').click()")
    drawn(page, "cost")
    ink = "getComputedStyle(document.body).color"
    paper = "getComputedStyle(document.body).backgroundColor"
    marks = "[...document.querySelectorAll('#group-0 [data-part=cost] svg.marks path')]"
    same = f"{marks}.filter((each) => getComputedStyle(each).stroke === {ink}).length >= 4"
    page.wait(same)
    edged = f"{marks}.filter((each) => getComputedStyle(each).stroke === {paper}).length >= 7"
    page.wait(edged)
    filled = f"{marks}.filter((each) => getComputedStyle(each).fill === {ink}).length >= 1"
    page.wait(filled)
