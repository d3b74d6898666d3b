"""The HTML report's page of the samples that methods disagree on: rows, pictures, commands."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from html_browser import Browser, browser_path
from html_factory import make_findings
from html_pages import NASTY, Page, unpacked
from keeprate.analysis.disagreement import DisagreedSample, Disagreement, PredictedClass
from keeprate.analysis.model import Findings
from keeprate_reports import html_disagreement
from keeprate_reports.html_disagreement import disagreement_part
from keeprate_reports.html_page import page, page_bytes

needs_browser = pytest.mark.skipif(
    browser_path() is None, reason="no Chromium with chromedriver on the path"
)
PART = "document.querySelector('#group-0 [data-part=disagreement]')"
COMMAND = "keeprate show --disagreeing runs/first"


def picture(folder: Path, name: str = "a.png", width: int = 700) -> str:
    path = folder / name
    Image.new("RGB", (width, 90), "white").save(path)
    return str(path)


def sample(name: str = "val/cat.jpg", path: str = "", pictured: str = "") -> DisagreedSample:
    return DisagreedSample(
        sample=name,
        label=3,
        label_name="cat",
        unpruned=PredictedClass(3, "cat", right=True),
        guesses=(
            PredictedClass(3, "cat", right=True),
            PredictedClass(7, "dog", right=False, pictured=pictured),
        ),
        different_percent=100.0,
        kl_spread_nats=1.25,
        picture=path,
    )


def disagreement(*samples: DisagreedSample, **changes: Any) -> Disagreement:
    ids = tuple(point.run_id for point in make_findings().groups[0].points[:2])
    found = Disagreement(
        budget="50%",
        run_ids=ids,
        labels=("random", "tome"),
        text="All 2 series at 50%, one run of each.",
        images=2000,
        differing=1234,
        samples=samples or (sample(),),
        command=COMMAND,
    )
    return replace(found, **changes)


def findings_of(found: Disagreement | None) -> Findings:
    made = make_findings()
    return replace(made, groups=(replace(made.groups[0], disagreement=found),))


def payload(found: Disagreement | None) -> Any:
    [group] = Page(page(findings_of(found))).payload["groups"]
    return group["disagreement"]


def test_the_rows_are_those_of_the_findings() -> None:
    part = payload(disagreement(sample("one"), sample("two")))
    assert (part["differing"], part["images"], part["samples"]) == (1234, 2000, "images")
    assert part["labels"] == ["random", "tome"]
    for row, name in zip(unpacked(part["rows"]), ("one", "two"), strict=True):
        assert row == {
            "sample": name,
            "label": "cat (3)",
            "unpruned": ["cat (3)", True],
            "guesses": [["cat (3)", True], ["dog (7)", False]],
            "different": 100.0,
            "spread": 1.25,
        }


def test_classes_without_a_name_are_numbers() -> None:
    plain = replace(
        sample(),
        label_name="",
        guesses=(PredictedClass(7, "", False), PredictedClass(9, "", False)),
    )
    [row] = unpacked(payload(disagreement(plain))["rows"])
    assert (row["label"], row["guesses"]) == ("3", [["7", False], ["9", False]])


def test_nothing_to_compare_is_no_part_of_the_page() -> None:
    assert payload(None) is None


def test_pictures_are_embedded_with_what_they_show(tmp_path: Path) -> None:
    path = picture(tmp_path)
    [shown] = payload(disagreement(sample(path=path), sample("other")))["pictures"]
    assert base64.b64decode(shown["source"]) == Path(path).read_bytes()
    assert shown["title"] == "Labelled cat (3): val/cat.jpg"
    assert shown["alt"] == (
        "Which patches of val/cat.jpg survive, run by run, and what is predicted: "
        "random: cat (3); tome: dog (7)"
    )
    assert shown["otherwise"] == []


def test_a_picture_of_another_prediction_says_so(tmp_path: Path) -> None:
    changed = sample(path=picture(tmp_path), pictured="fox (9)")
    [shown] = payload(disagreement(changed))["pictures"]
    assert shown["otherwise"] == ["In the picture tome predicts fox (9), in its rows dog (7)."]


def test_pictures_that_cannot_be_read_or_are_too_many_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path)
    found = disagreement(*(sample(name, path) for name in "abc"), sample("d", "/nowhere/a.png"))
    monkeypatch.setattr(html_disagreement, "_MOST_BYTES", 2 * Path(path).stat().st_size)
    part = disagreement_part(found, "images")
    assert part is not None
    assert (len(part["pictures"]), part["missing"]) == (2, 2)  # type: ignore[arg-type]


def test_any_name_stays_text(tmp_path: Path) -> None:
    nasty = sample(NASTY, picture(tmp_path), NASTY)
    nasty = replace(nasty, label_name=NASTY, guesses=(PredictedClass(1, NASTY, False, NASTY),) * 2)
    found = disagreement(nasty, labels=(NASTY, NASTY + "2"), text=NASTY, command=NASTY)
    parsed = Page(page(findings_of(found)))
    assert parsed.tags == Page(page(findings_of(disagreement()))).tags
    assert "<" not in parsed.data
    [row] = unpacked(parsed.payload["groups"][0]["disagreement"]["rows"])
    assert row["sample"] == NASTY


def show(browser: Browser, folder: Path, found: Disagreement | None, width: int = 1280) -> None:
    path = folder / "report.html"
    path.write_bytes(page_bytes(findings_of(found)))
    browser.open(path, width)


@pytest.mark.system
@needs_browser
def test_pictures_are_shown_and_opened_with_the_keyboard(browser: Browser, tmp_path: Path) -> None:
    path = picture(tmp_path)
    show(browser, tmp_path, disagreement(sample("one", path), sample("two", path)))
    image = f"{PART}.querySelectorAll('img')"
    browser.wait(f"{image}[0].complete && {image}[0].naturalWidth === 700")
    assert browser.script(f"{image}[0].getBoundingClientRect().width") == 700
    assert browser.script(f"[...{PART}.querySelectorAll('details')].map((d) => d.open)") == [
        True,
        False,
    ]
    from selenium.webdriver import ActionChains

    browser.script(f"{PART}.querySelectorAll('summary')[1].focus()")
    ActionChains(browser.driver).send_keys(" ").perform()
    browser.wait(f"{PART}.querySelectorAll('details')[1].open")
    assert browser.script(f"{PART}.querySelector('.sheet').tabIndex") == 0
    assert browser.problems() == []


@pytest.mark.system
@needs_browser
def test_what_is_right_is_bold_and_figures_are_there(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, disagreement())
    heads = f"[...{PART}.querySelectorAll('thead th')].map((head) => head.textContent)"
    assert browser.script(heads) == [
        "Sample",
        "Label",
        "Pairs that differ %",
        "KL spread, nats",
        "Unpruned",
        "random",
        "tome",
    ]
    cells = f"[...{PART}.querySelectorAll('tbody td')]"
    assert browser.script(f"{cells}.map((cell) => cell.textContent)") == [
        "val/cat.jpg",
        "cat (3)",
        "100.0",
        "1.2500",
        "cat (3)",
        "cat (3)",
        "dog (7)",
    ]
    strong = f"{cells}.map((cell) => cell.classList.contains('strong')).slice(4)"
    assert browser.script(strong) == [True, True, False]


@pytest.mark.system
@needs_browser
def test_without_pictures_the_command_that_draws_them_is_there(
    browser: Browser, tmp_path: Path
) -> None:
    show(browser, tmp_path, disagreement())
    assert browser.script(f"{PART}.querySelector('pre').textContent") == COMMAND
    show(browser, tmp_path, disagreement(command=""))
    assert browser.script(f"{PART}.querySelector('pre')") is None
    assert "Texts have no patches to draw." in browser.script(f"{PART}.textContent")
    show(browser, tmp_path, None)
    assert browser.script(f"{PART}.textContent") == ""
    assert browser.problems() == []


@pytest.mark.system
@needs_browser
def test_a_phone_scrolls_pictures_not_the_page(browser: Browser, tmp_path: Path) -> None:
    found = disagreement(sample("n02979186/n02979186_cassette_player.JPEG" * 3, picture(tmp_path)))
    show(browser, tmp_path, found, width=390)
    assert browser.script("document.documentElement.scrollWidth") == 390
    sheet = f"{PART}.querySelector('.sheet')"
    browser.wait(f"{sheet}.scrollWidth > 700 && {sheet}.clientWidth < 390")


@pytest.mark.system
@needs_browser
def test_nasty_names_run_nothing_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    nasty = replace(sample(NASTY, picture(tmp_path), NASTY), label_name=NASTY)
    show(browser, tmp_path, disagreement(nasty, labels=(NASTY, "tome"), text=NASTY))
    assert browser.script(f"{PART}.querySelectorAll('script').length") == 0
    assert browser.script(f"{PART}.querySelectorAll('img').length") == 1
    assert NASTY in browser.script(f"{PART}.querySelector('tbody').textContent")
    assert browser.problems() == []


@pytest.mark.system
@needs_browser
def test_the_part_goes_with_its_runs(browser: Browser, tmp_path: Path) -> None:
    show(browser, tmp_path, disagreement())
    hidden = f"{PART}.firstElementChild.hidden"
    assert browser.script(hidden) is False
    browser.script("document.getElementById('none').click()")
    browser.wait(hidden)
