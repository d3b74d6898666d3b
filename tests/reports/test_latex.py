"""LaTeX tables: any name is text, the structure is whole, and pdflatex takes them where it is."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.run_table import Column
from keeprate.results.records import Failure, RunInfo
from keeprate.results.store import Store
from keeprate_reports.latex_layout import TEXT_WIDTH, layout
from keeprate_reports.latex_tables import LatexTables
from keeprate_reports.latex_text import breakable, code, escape, width_em
from results_factory import make_backbone, make_data, make_environment, make_run, put

NASTY = r"50%_&#{x}$^~\<script>[a]|" + '"é✓'
NAMES = (
    NASTY,
    "plain",
    r"\end{document}\input{/etc/passwd}",
    "* star -- dash ?`''\\\\[1cm]",
    "".join(map(chr, range(160, 256))) + "\x00\x07",
    "x" * 400,
    "W" * 70,
    "many words " * 60,
)
OVERFULL_POINTS = 1.0
COMPILER = shutil.which("pdflatex")


def fill_with_everything(store: Store) -> None:
    """Hostile names, skipped samples, a failure, a broken file, published points, many series."""
    known = make_backbone("deit_small_patch16_224")
    other = make_backbone("\\model_%$" + "M" * 60, "00" * 32)
    broken = {f"val_{n}/{NASTY}": f"\\bad {n}%" for n in range(120)}
    put(store, make_run("full", backbone=known), accuracy=0.97)
    for rank, name in enumerate((*NAMES, *(f"variant {n}" for n in range(45)))):
        for keep in (50, 40, 30):
            asked = {"budget": f"{keep}%", "parameters": {"mode": name}, "backbone": known}
            put(store, make_run("zt", keep, **asked), 0.95 - rank / 100 - (64 - keep) / 400)
    put(store, make_run("tome", 40, backbone=other, data=make_data("da&ta", skipped=broken)))
    fail(store, make_run("bad", 8, parameters={"mode": NASTY}, backbone=known))
    store.path_of("old-1", ".json").write_text('{"format_version": 1}')


def fail(store: Store, run: RunInfo) -> None:
    environment = make_environment()
    told = Failure(run=run, error=NASTY, traceback="", environment=environment)
    store.write_failure(told)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables.tex and appendix.tex of a store with everything."""
    folder = tmp_path_factory.mktemp("everything")
    fill_with_everything(Store(folder))
    LatexTables().write(findings_of(Store(folder)), folder)
    return folder


@pytest.fixture
def text(tmp_path: Path) -> str:
    store = Store(tmp_path)
    put(store, make_run("full"), accuracy=0.97)
    for value, accuracy in ((NASTY, 0.9), ("plain", 0.6)):
        for keep in (50, 40):
            run = make_run("zt", keep, budget=f"{keep}%", parameters={"mode": value})
            put(store, run, accuracy - (64 - keep) / 400)
    tables, _ = LatexTables().write(findings_of(store), tmp_path)
    return tables.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        ("50% & more", r"50\% \& more"),
        ("a_b#c", r"a\_b\#c"),
        ("{$x^2$}", r"\{\$x\textasciicircum{}2\$\}"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("<script>", r"\textless{}script\textgreater{}"),
        ("two\nlines", "two lines"),
        ("✓", "?"),
        ("a\x00b\x7f", "a?b?"),
        ("I'-S-I", "I'-S-I"),
        ("--keep ''x'' ,, `", r"-{}-keep '{}'x'{}' ,{}, \textasciigrave{}"),
    ],
)
def test_names_are_set_as_they_are(plain: str, shown: str) -> None:
    assert escape(plain) == shown


def test_long_words_may_be_broken_behind_punctuation_or_anywhere() -> None:
    assert breakable("a/short/one", 20) == "a/short/one"
    assert breakable("data/photographs/val", 8) == (
        r"data/\allowbreak{}photographs/\allowbreak{}val"
    )
    pieces = breakable("f" * 64, 6).split(r"\allowbreak{}")
    assert "".join(pieces) == "f" * 64
    assert max(map(width_em, pieces)) <= 3


def test_commands_keep_their_quotes_and_dashes() -> None:
    said = code("keeprate compare --method 'a b'")
    assert said == (r"\texttt{keeprate compare -{}-method \textquotesingle{}a b\textquotesingle{}}")


def columns(widths: Sequence[int], figures: bool) -> list[Column]:
    return [Column("A heading", ("0" * width,), figures, 1) for width in widths]


@pytest.mark.parametrize(
    ("widths", "figures", "points", "parts", "wrapped"),
    [
        ((10, 10, 10), True, 9, 1, False),
        ((20, 20, 32), True, 8, 1, False),
        ((20, 20, 20, 20, 20), True, 8, 2, False),
        ((100, 100), False, 8, 1, True),
        ((100,) * 9, False, 8, 2, True),
    ],
)
def test_a_table_gets_smaller_letters_then_wraps_then_comes_in_parts_and_always_fits(
    widths: Sequence[int], figures: bool, points: float, parts: int, wrapped: bool
) -> None:
    given = columns(widths, figures)
    found = layout(given, bold=True)
    assert (found.size.points, len(found.parts)) == (points, parts)
    placed = [each for part in found.parts for each in part]
    assert any(each.wrapped for each in placed) == wrapped
    for part in found.parts:
        assert part[0].column is given[0]
        assert sum(each.width for each in part) + found.size.gap * (len(part) - 1) <= TEXT_WIDTH
    assert len(placed) == len(widths) + parts - 1


def test_every_row_has_as_many_cells_as_its_tabular(text: str) -> None:
    wrapped = r">\{\\raggedright\\arraybackslash\}p\{\d+pt\}"
    plain = re.sub(wrapped, "l", text)
    tables = re.findall(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}\n(.*?)\n\\end", plain, re.DOTALL)
    assert len(tables) == len(re.findall(r"\\bottomrule", text)) >= 4
    for form, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(rows) > 1
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(form) - 1}


def test_tables_have_rules_captions_and_labels_of_their_own(text: str) -> None:
    for rule in (r"\caption{", r"\end{table}"):
        assert text.count(rule) == text.count(r"\begin{table}")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) >= text.count(r"\begin{table}")
    labels = re.findall(r"\\label\{(.+?)\}", text)
    assert len(labels) == len(set(labels)) == text.count(r"\begin{table}")


def test_captions_name_n_test_and_correction_and_marks_are_there(text: str) -> None:
    caption = re.search(r"\\caption\{(Series at 50\\%.*)\}", text)
    assert caption
    for said in ("n = 200 images", r"95 \% intervals", "paired", "Holm's over 2 comparisons"):
        assert said in caption[1]
    assert "McNemar's exact test" in text
    assert re.search(r"\\textbf\{zt mode=50\\%\\_\\&\\#", text.replace(r"\allowbreak{}", ""))
    assert re.search(r"\$-\$\d+\.\d\d\* \{\[\}\$-\$", text)


@pytest.mark.slow
def test_no_name_is_left_unescaped(text: str, full: Path) -> None:
    for each in (text, (full / "appendix.tex").read_text(encoding="utf-8")):
        shown = "\n".join(line for line in each.splitlines() if not line.startswith("%"))
        assert not re.search(r"(?<!\\)[%#]", shown)
        assert not re.search(r"(?<!\\)\$", shown.replace("$-$", ""))
        assert "<script>" not in shown


@pytest.mark.slow
def test_tables_that_are_too_long_say_where_the_rest_is(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(105):
        put(store, make_run("zt", 50, budget="80%", parameters={"x": number}))
    tables, appendix = LatexTables().write(findings_of(store), tmp_path)
    text = tables.read_text(encoding="utf-8")
    assert "The first 100 of 105 lines; comparisons.csv has all." in text
    assert len(re.findall(r"^(?:\{\}|\\textbf\{)zt x=", text, re.MULTILINE)) == 200
    whole = appendix.read_text(encoding="utf-8")
    assert all(rf"{{}}zt x={number} &" in whole for number in range(105))
    assert "its 105 single runs are in the findings as JSON" in whole


def test_latex_is_never_made_to_hold_many_tables_or_to_print_them_out_of_order(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    for number in range(3):
        backbone = make_backbone(f"model{number}", f"{number:064x}")
        for keep in range(30, 40):
            for name in ("tome", "zt"):
                run = make_run(name, keep, budget=f"{keep}%", backbone=backbone)
                put(store, run, accuracy=0.9 - keep / 200)
    tables, _ = LatexTables().write(findings_of(store), tmp_path)
    text = tables.read_text(encoding="utf-8")
    held = [part.count(r"\begin{table}") for part in text.split(r"\clearpage")]
    assert max(held) <= 12 < sum(held)


@pytest.mark.slow
def test_the_appendix_has_tokens_provenance_commands_and_what_is_missing(full: Path) -> None:
    text = (full / "appendix.tex").read_text(encoding="utf-8").replace(r"\allowbreak{}", "")
    for said in (
        "prefix tokens after each block",
        "65 x4, 51 x8",
        "Published of DeiT-S",
        r"Weights SHA-256",
        "5e" * 32,
        "2026-01-02 03:04:05 UTC",
        "keeprate 0.1.0, torch 2.15.0",
        "keeprate compare -{}-data digits -{}-limit 200",
        "the first 100 of 120",
        "Runs that failed and are in no figure.",
        "old-1.json: has format",
        "Each tries a failed run again.",
    ):
        assert said in text, said


@pytest.mark.skipif(COMPILER is None, reason="pdflatex is not installed")
def test_pdflatex_takes_a_store_with_everything_and_nothing_is_too_wide(
    full: Path, tmp_path: Path
) -> None:
    for name in ("tables.tex", "appendix.tex"):
        shutil.copy(full / name, tmp_path)
    preamble = "\\documentclass{article}\\usepackage[T1]{fontenc}"
    preamble += "\\usepackage{array,booktabs,longtable}"
    body = "\\begin{document}Text.\\input{tables}\\appendix\\input{appendix}Text.\\end{document}"
    (tmp_path / "paper.tex").write_text(preamble + body)
    command = [str(COMPILER), "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace"
    )
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(encoding="latin-1")
    wide = [float(points) for points in re.findall(r"Overfull \\[hv]box \(([\d.]+)pt", log)]
    assert max(wide, default=0) <= OVERFULL_POINTS
    assert "Float too large" not in log
    assert "Missing character" not in log
