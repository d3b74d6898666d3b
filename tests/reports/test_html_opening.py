"""The HTML report opens with pictures, each with the class it leads to, right or wrong."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from html_browser import Browser, browser_path, show
from html_factory import make_findings
from html_pages import NASTY, Page
from keeprate.analysis.disagreement import (
    DisagreedSample,
    Disagreement,
    EndPicture,
    PredictedClass,
)
from keeprate.analysis.model import Findings
from keeprate_reports.html_opening import opening_of
from keeprate_reports.html_page import page

GROUPS = (("deit_tiny", "imagenet"), ("digits_vit", "digits"))
OPENING = "document.getElementById('opening')"


def picture(folder: Path, name: str = "a.png") -> str:
    path = folder / name
    Image.new("RGB", (224, 224), "white").save(path)
    return str(path)


def sample(path: str, name: str = "test-0001", pictured: str = "") -> DisagreedSample:
    return DisagreedSample(
        sample=name,
        label=3,
        label_name="3",
        unpruned=PredictedClass(3, "3", right=True),
        guesses=(
            PredictedClass(3, "3", right=True, end=EndPicture(64, 8, 56, 0, path)),
            PredictedClass(7, "cat", False, pictured, EndPicture(64, 20, 10, 40, path)),
        ),
        different_percent=100.0,
        kl_spread_nats=1.25,
        picture=path,
        input_picture=path,
    )


def found_of(*samples: DisagreedSample, name: str = "tome") -> Disagreement:
    ids = tuple(point.run_id for point in make_findings().groups[0].points[:2])
    text = "All 2 series at 50%, one run of each."
    return Disagreement("50%", ids, ("random", name), text, 2000, 1234, samples, "keeprate show")


def findings_with(*found: Disagreement | None) -> Findings:
    made = make_findings(groups=GROUPS[: len(found)])
    groups = zip(made.groups, found, strict=True)
    return replace(made, groups=tuple(replace(group, disagreement=one) for group, one in groups))


def test_the_page_opens_with_pictures_and_what_is_predicted(tmp_path: Path) -> None:
    path = picture(tmp_path)
    written = page(findings_with(found_of(sample(path), sample(path, "test-0002"))))
    assert written.index('<section id="opening"') < written.index("<nav")
    shown = Page(written)
    assert shown.tags.count("img") == 2 * 3
    sources = [str(value) for name, value in shown.attributes if name == "src"]
    assert {base64.b64decode(source.partition(",")[2]) for source in sources} == {
        Path(path).read_bytes()
    }
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "2 of 2,000 images, at a budget of 50%." in shown.text
    row = "labelled 3 unpruned: 3, right 3, right 8 of 64 tokens left, 56 patches dropped "
    row += "cat (7), wrong 20 of 64 tokens left, 10 patches dropped, 40 patches merged"
    assert shown.text.count(row) == 2
    alts = [value for name, value in shown.attributes if name == "alt"]
    assert alts[:3] == ["test-0001", *(f"What {name} leaves of test-0001" for name in METHODS)]


METHODS = ("random", "tome")


def test_no_path_of_a_picture_is_in_the_page(tmp_path: Path) -> None:
    assert str(tmp_path) not in page(findings_with(found_of(sample(picture(tmp_path)))))


def test_without_pictures_the_page_opens_as_before() -> None:
    bare = replace(sample("/nowhere/a.png"), input_picture="", picture="")
    for found in (None, found_of(bare)):
        assert opening_of(findings_with(found)) is None
        assert 'id="opening"' not in page(findings_with(found))


def test_the_first_group_with_pictures_is_shown(tmp_path: Path) -> None:
    opening = opening_of(findings_with(None, found_of(sample(picture(tmp_path)))))
    assert opening is not None
    assert (opening.index, opening.title) == (1, "digits_vit on digits")
    shown = page(findings_with(None, found_of(sample(picture(tmp_path)))))
    assert 'href="#group-1-disagreement"' in shown
    assert "at a budget of 50%, of digits_vit on digits." in Page(shown).text


def test_images_whose_files_are_gone_are_left_out(tmp_path: Path) -> None:
    rows = found_of(sample(picture(tmp_path)), sample("/nowhere/a.png", "gone"))
    opening = opening_of(findings_with(rows))
    assert opening is not None
    assert [row.sample for row in opening.rows] == ["test-0001"]


def test_a_picture_of_another_prediction_says_so(tmp_path: Path) -> None:
    other = sample(picture(tmp_path), pictured="fox (9)")
    text = Page(page(findings_with(found_of(other)))).text
    assert "40 patches merged. In the picture it predicts fox (9)." in text


def test_any_name_stays_text(tmp_path: Path) -> None:
    path = picture(tmp_path)
    nasty = replace(sample(path, NASTY, NASTY), label_name=NASTY)
    nasty = replace(nasty, guesses=tuple(replace(guess, name=NASTY) for guess in nasty.guesses))
    parsed = Page(page(findings_with(found_of(nasty, name=NASTY))))
    assert parsed.tags == Page(page(findings_with(found_of(sample(path))))).tags


@pytest.mark.system
@pytest.mark.skipif(browser_path() is None, reason="no Chromium with chromedriver on the path")
@pytest.mark.parametrize("width", [390, 1280])
def test_pictures_are_the_first_thing_one_sees(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    path = picture(tmp_path)
    samples = [sample(path, f"n02979186/n02979186_{number}.JPEG" * 3) for number in range(4)]
    found = replace(found_of(*samples), labels=("random", "zero-tprune pattern=I'-S-I"))
    show(browser, tmp_path, findings_with(found), width)
    image = f"{OPENING}.querySelectorAll('img')"
    browser.wait(f"[...{image}].every((each) => each.complete && each.naturalWidth === 224)")
    assert browser.script(f"{image}[2].getBoundingClientRect().bottom") < 900
    assert browser.script("document.documentElement.scrollWidth") <= width
    assert browser.problems() == []
