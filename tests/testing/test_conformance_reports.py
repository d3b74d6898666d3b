"""Reports have promises of their own: each check fails for what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeprate import Report
from keeprate.analysis.model import Findings, Point
from keeprate.plugins.registry import load
from keeprate.testing.outcome import Verdict
from keeprate.testing.report_checks import REPORT_CHECKS
from keeprate.testing.runner import run_checks


def points_of(findings: Findings) -> list[Point]:
    return [point for group in findings.groups for point in group.points]


class Ranking(Report):
    """Lists the runs from the most to the least accurate."""

    name = "ranking"
    file = "ranking.txt"

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        path = folder / self.file
        path.write_text(
            "\n".join(self.text(point) for point in points_of(findings)), encoding="utf-8"
        )
        return [path]

    def text(self, point: Point) -> str:
        return f"{point.score.value:.1f} {point.label}"


class Silent(Ranking):
    __doc__ = None


class Astray(Ranking):
    """Writes a log into the working directory as well."""

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        Path("ranking.log").write_text("done")
        return super().write(findings, folder)


class Single(Ranking):
    """Compares the first two runs, whatever there is."""

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        if points_of(findings):
            _first, _second = points_of(findings)[:2]
        return super().write(findings, folder)


class Best(Ranking):
    """Names the best run first."""

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        max(point.score.value for point in points_of(findings))
        return super().write(findings, folder)


class Markup(Ranking):
    """Puts names into a page as they are."""

    file = "ranking.html"


class FileOfEach(Ranking):
    """Names a file after every method."""

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        paths = [folder / f"{point.method}.txt" for point in points_of(findings)]
        for path in paths:
            path.write_text("ranked")
        return paths


class Once(Ranking):
    """Refuses to write where it has written."""

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        with (folder / self.file).open("x") as file:
            file.write("ranked")
        return [folder / self.file]


class Text(Ranking):
    """Returns the names of files."""

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        return [str(path) for path in super().write(findings, folder)]


def report_verdict(cls: type[Report]) -> Verdict:
    return Verdict(cls.name, tuple(run_checks(REPORT_CHECKS, cls, lambda: cls)))


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("cls", "check", "said"),
    [
        (Silent, "described", "its docstring begins with no sentence, but ''"),
        (Single, "one-run", "raised ValueError: not enough values to unpack"),
        (Best, "no-run", "raised ValueError: max() "),
        (Markup, "names", "ranking.html has a name as markup, which a browser would run"),
        (FileOfEach, "names", "raised FileNotFoundError: "),
        (Once, "again", "raised FileExistsError: "),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_report_that_breaks_a_promise_fails_that_check_alone(
    cls: type[Report], check: str, said: str
) -> None:
    verdict = report_verdict(cls)
    assert [outcome.check for outcome in verdict.broken] == [check], str(verdict)
    assert verdict[check].said.startswith(said), verdict[check].said
    assert verdict[check].where.startswith(__file__)


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Astray, "it wrote outside its folder: here/ranking.log"),
        (Text, "write returned '/"),
    ],
)
def test_what_is_wrong_with_every_file_is_found_at_once(cls: type[Report], said: str) -> None:
    assert report_verdict(cls)["several-runs"].said.startswith(said)


def test_a_good_report_keeps_every_promise() -> None:
    verdict = report_verdict(Ranking)
    assert verdict.holds, str(verdict)
    assert verdict["several-runs"].said == "ranking.txt"


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "name", [n for n, o in load(environ={"KEEPRATE_PLUGINS": ""}).reports.items()]
)
def test_the_reports_that_ship_keep_every_promise(name: str) -> None:
    verdict = report_verdict(load(environ={"KEEPRATE_PLUGINS": ""}).report(name))
    assert verdict.holds, str(verdict)
