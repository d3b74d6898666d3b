"""Reports for people name no folder of the machine, which would name its user."""

from __future__ import annotations

import re
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.changes import changes
from keeprate.analysis.model import Findings, ReportOptions
from keeprate.analysis.places import without_places
from keeprate.analysis.write import findings_of_folder, write_reports
from keeprate.results.store import Store
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin
from keeprate_reports.html_payload import payload
from keeprate_reports.markdown_table import MarkdownTable
from results_factory import make_backbone, make_data, make_run, put
from store_factory import fail

HOME = "/srv/quokka o'hare"


def run(method: str, keep: int, folder: str = HOME, **more: Any) -> Any:
    """A run with a path of the user's at every place of its description that may hold one."""
    weights = WeightsOrigin(WeightsKind.FILE, f"{folder}/nets/w.pt")
    data = make_data(
        "imagenet",
        places={"root": f"{folder}/photographs"},
        parameters={"inner": f"imagenet:root={folder}/val"},
        skipped={"a.png": f"cannot read '{folder}/photographs/a.png'"},
        notes=(f"Passed over: {folder}/photographs/list.csv.",),
    )
    return make_run(
        method,
        keep,
        backbone=replace_model(f"hf:{folder}/vit", weights),
        data=data,
        method_origin=f"{folder}/methods/{method}.py",
        **{"parameters": {"predictor": f"{folder}/{method}/{keep}/best.pt"}} | more,
    )


def replace_model(name: str, weights: WeightsOrigin) -> Any:
    return make_backbone(name).model_copy(update={"weights": weights})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "quokka runs" / "first")
    put(store, run("full", 64))
    for method, keep in (("tome", 50), ("tome", 40), ("random", 40)):
        put(store, run(method, keep))
    fail(store, run("norm", 40), f"FileNotFoundError: No such file: {f'{HOME}/x y/b.pt'!r}")
    (store.folder / "tome-0123456789ab.json").write_text("{")
    return store


def text_in(path: Path) -> str:
    """Everything in a file that may be a text: PDFs are unpacked."""
    content = path.read_bytes()
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    unpacked = [zlib.decompress(each) for each in streams if each[:1] == b"\x78"]
    return b"\n".join([content, *unpacked]).decode("latin-1")


@pytest.mark.parametrize(
    "formats",
    [
        ["markdown", "latex", "csv", "comparisons", "alike", "findings"],
        pytest.param(None, marks=pytest.mark.slow, id="all"),
    ],
)
def test_no_written_file_names_the_folders_of_data_weights_and_plugins(
    formats: list[str] | None, store: Store, tmp_path: Path
) -> None:
    found = findings_of_folder(store.folder)
    assert str(asdict(found)).count("quokka") > 50
    written = write_reports(store.folder, formats, output=tmp_path / "paper", found=found)
    assert not written.failures
    telling = {path.name for path in written.files if "quokka" in text_in(path)}
    assert telling == {"findings.report.json"}
    table = (tmp_path / "paper" / "table.md").read_text(encoding="utf-8")
    assert "imagenet root=photographs" in table
    assert "quokka" not in str(payload(without_places(found, [str(store.folder)])))
    assert "--plugin 'tome.py'" in table


def test_whole_paths_are_written_on_request(store: Store, tmp_path: Path) -> None:
    found = findings_of(store, ReportOptions(places=True))
    write_reports(store.folder, ["markdown"], output=tmp_path, found=found)
    assert f"root={HOME}/photographs" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_changes_name_no_folders_either(store: Store, tmp_path: Path) -> None:
    after = Store(tmp_path / "after")
    put(after, run("tome", 30))
    [path] = MarkdownTable().write_changes(without_places(changes(store, after)), tmp_path)
    assert "quokka" not in path.read_text(encoding="utf-8")


def shown(text: str, *places: str) -> str:
    found = Findings(ReportOptions(), (text,), (), (), (), (), places)
    return without_places(found).overview[0]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("images/s and/or I'-S, top-1 / kl", "images/s and/or I'-S, top-1 / kl"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("--weights ~/nets/w.pt", "--weights w.pt"),
        ("imagenet:root=/data/val,split=x", "imagenet:root=val,split=x"),
        ("no file '/a b/c d/e f.png'.", "no file 'e f.png'."),
        (r"at C:\users\me\w.pt", "at w.pt"),
        ("runs/first and ./x/y", "runs/first and ./x/y"),
        ("/a/best.pt, /b/best.pt, /a/best.pt", "best.pt, best.pt#2, best.pt"),
    ],
)
def test_a_path_is_its_last_part_and_nothing_else_changes(text: str, short: str) -> None:
    assert shown(text) == short


def test_a_path_with_blanks_is_known_from_the_runs() -> None:
    assert shown("root=/a b/c d, n = 3", "/a b/c d") == "root=c d, n = 3"
    assert shown("in /a b/c d/e", "/a b/c d") == "in c d/e"


def test_series_that_differ_in_a_folder_alone_stay_two(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("one", "two"):
        put(store, run("tome", 40, parameters={"predictor": f"{HOME}/{name}/best.pt"}))
    [group] = without_places(findings_of(store)).groups
    assert {point.series for point in group.points} == {
        "tome predictor=best.pt",
        "tome predictor=best.pt#2",
    }


def test_what_has_no_path_stays_the_same_object(tmp_path: Path) -> None:
    found = replace(findings_of(_plain(tmp_path)), places=())
    assert without_places(found) == found


def _plain(folder: Path) -> Store:
    store = Store(folder)
    put(store, make_run("full"))
    return store
