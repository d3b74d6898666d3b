"""LaTeX tables: any name is text, the structure is whole, and pdflatex takes them where it is."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from keeprate.results import Store
from keeprate.summary import summarise
from keeprate_reports.latex_tables import LatexTables, escape
from results_factory import make_run, put

NASTY = r"50%_&#{x}$^~\<script>[a]|" + '"é✓'


@pytest.fixture
def text(tmp_path: Path) -> str:
    store = Store(tmp_path)
    put(store, make_run("full"), accuracy=0.97)
    for value, accuracy in ((NASTY, 0.9), ("plain", 0.6)):
        for keep in (50, 40):
            run = make_run("zt", keep, budget=f"{keep}%", parameters={"mode": value})
            put(store, run, accuracy - (64 - keep) / 400)
    (path,) = LatexTables().write(summarise(store), tmp_path)
    return path.read_text(encoding="utf-8")


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
        ("I'-S-I", "I'-S-I"),
    ],
)
def test_names_are_set_as_they_are(plain: str, shown: str) -> None:
    assert escape(plain) == shown


def test_every_row_has_as_many_cells_as_its_tabular(text: str) -> None:
    tables = re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert len(tables) >= 4
    for form, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert len(rows) > 1
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(form) - 1}


def test_tables_have_rules_captions_and_labels_of_their_own(text: str) -> None:
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\end{table}"):
        assert text.count(rule) == text.count(r"\begin{table}")
    labels = re.findall(r"\\label\{(.+?)\}", text)
    assert len(labels) == len(set(labels)) == text.count(r"\begin{table}")


def test_captions_name_n_test_and_correction_and_marks_are_there(text: str) -> None:
    caption = re.search(r"\\caption\{(Series at 50\\%.*)\}", text)
    assert caption
    for said in ("n = 200 images", r"95 \% intervals", "paired", "Holm's over 2 comparisons"):
        assert said in caption[1]
    assert "McNemar's exact test" in text
    assert r"\textbf{zt mode=50\%\_\&\#" in text
    assert re.search(r"-\d+\.\d\d\* \{\[\}-", text)


def test_no_name_is_left_unescaped(text: str) -> None:
    shown = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)[%#$]", shown)
    assert "<script>" not in shown


def test_pdflatex_takes_it(text: str, tmp_path: Path) -> None:
    compiler = shutil.which("pdflatex")
    if compiler is None:
        pytest.skip("pdflatex is not installed")
    preamble = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}"
    body = "\\begin{document}\\input{tables}\\end{document}"
    (tmp_path / "paper.tex").write_text(preamble + body)
    command = [compiler, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
