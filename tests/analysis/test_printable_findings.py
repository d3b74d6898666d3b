"""Control characters in names, parameters and reasons are escaped wherever they are shown."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from keeprate.analysis.printable_findings import printable_content
from keeprate.analysis.write import findings_of_folder, write_reports
from keeprate.cli.printing import echo
from keeprate.errors import printable
from keeprate.results.listing import listed
from keeprate.results.store import Store
from keeprate_reports.accuracy_plot import AccuracyPlot
from results_factory import make_backbone, make_data, make_run, put
from store_factory import fail

STEERING = "\x1b[31m\x00\x07\x9b\u2028\u202e"
ESCAPED = r"\x1b[31m\x00\x07\x9b\u2028\u202e"


def test_what_steers_is_escaped_and_other_text_stays() -> None:
    assert printable(STEERING) == ESCAPED
    assert printable("a\nb\tc\udce9") == r"a\nb\tc\udce9"
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    for text in ("tome r=8", "été 東京 \u00a0 ∞ 👩‍🔬"):
        assert printable(text) == text


def test_commands_print_no_control_but_line_ends(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"one\n{STEERING}")
    echo(f"two {STEERING}", err=True)
    told = capsys.readouterr()
    assert (told.out, told.err) == (f"one\n{ESCAPED}\n", f"two {ESCAPED}\n")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    steered = {
        "backbone": make_backbone(f"vit{STEERING}"),
        "data": make_data(f"digits{STEERING}", skipped={f"a{STEERING}": f"torn{STEERING}"}),
    }
    put(store, make_run("full", **steered))
    for word in ("a", f"b{STEERING}"):
        put(store, make_run("tome", 40, parameters={"word": word}, **steered), accuracy=0.8)
    fail(store, make_run("random", **steered), f"ValueError: {STEERING}")
    return store


def texts_in(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    if is_dataclass(content):
        return texts_in([getattr(content, field.name) for field in fields(content)])
    if isinstance(content, dict):
        return texts_in([*content, *content.values()])
    items = content if isinstance(content, list | tuple) else ()
    return [text for item in items for text in texts_in(item)]


def test_findings_and_lists_hold_no_control_characters(store: Store) -> None:
    shown = texts_in(findings_of_folder(store.folder))
    assert [text for text in shown if printable(text) != text] == []
    assert any(ESCAPED in text for text in shown)
    runs, _ = listed(store)
    assert {run.label for run in runs if run.label and "word" in run.label} == {
        *(f"tome word={word} 40@3" for word in ("a", f"b{ESCAPED}"))
    }


def test_reports_hold_no_control_characters(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AccuracyPlot, "kinds", ("svg",))
    written = write_reports(store.folder)
    assert written.failures == ()
    for path in written.files:
        content = path.read_bytes().decode(errors="replace")
        assert not {"\x1b", "\x00", "\x9b", "\u202e"} & {*content}, path.name


def test_what_has_nothing_to_escape_is_the_same_object(store: Store) -> None:
    found = findings_of_folder(store.folder)
    assert printable_content(found) is found
