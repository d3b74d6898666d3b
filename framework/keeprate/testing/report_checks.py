"""The promises of every report: it writes only into its folder, from any store and any names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..analysis.build import findings_of
from ..analysis.model import Findings
from ..report import Report
from .described import check_described
from .outcome import Broken, Check
from .sample_results import HOSTILE, PATCHES, fill

_MARKUP_SUFFIXES = (".html", ".htm", ".svg", ".xml")


@dataclass(frozen=True)
class Written:
    """A report that was written: the `paths` it returned, and its `folder` with the files."""

    paths: list[Path]
    folder: Path


def _described(cls: type[Report]) -> str:
    check_described("reports", cls)
    return ""


def _several(cls: type[Report]) -> str:
    with _write_report(cls, (PATCHES, 50, 40)) as written:
        return ", ".join(sorted(path.name for path in written.paths))


def _one(cls: type[Report]) -> str:
    for keeps in ((PATCHES,), (40,)):
        with _write_report(cls, keeps):
            pass
    return ""


def _none(cls: type[Report]) -> str:
    with _write_report(cls, ()):
        return ""


def _names(cls: type[Report]) -> str:
    with _write_report(cls, (PATCHES, 50, 40), HOSTILE) as written:
        for path in written.paths:
            if path.suffix in _MARKUP_SUFFIXES and "<script>alert('x')" in path.read_text("utf-8"):
                raise Broken(f"{path.name} has a name as markup, which a browser would run", _CASE)
    return ""


def _again(cls: type[Report]) -> str:
    """Write two reports into one folder."""
    with _write_report(cls, (PATCHES, 50)) as written, TemporaryDirectory() as parent:
        findings = findings_of(fill(Path(parent), (PATCHES, 40)))
        _check_paths(cls().write(findings, written.folder), written.folder)
    return ""


_CASE = "keeprate.testing.sample_results.fill(folder, (64, 50, 40), name=HOSTILE, model=HOSTILE)"


@contextmanager
def _write_report(
    cls: type[Report], keeps: tuple[int, ...], name: str = "made-up"
) -> Iterator[Written]:
    """Write a report of made-up runs into its own folder, and check that nothing else changes."""
    case = f"keeprate.testing.sample_results.fill(folder, {keeps})" if name != HOSTILE else _CASE
    with TemporaryDirectory() as temporary:
        # resolved: some systems reach the temporary folder by a link, and paths are compared
        top = Path(temporary).resolve()
        store, folder, working_folder = top / "store", top / "deep" / "report", top / "here"
        folder.mkdir(parents=True)
        working_folder.mkdir()
        findings = findings_of(fill(store, keeps, name=name, model=name))
        files_before = _files_below(top)
        # a relative path of the report ends up in the working folder, where it is seen
        with _working_in(working_folder):
            paths = _returned_paths(cls, findings, folder, case)
        stray_files = [
            path for path in _files_below(top) - files_before if folder not in path.parents
        ]
        if stray_files:
            raise Broken(f"it wrote outside its folder: {stray_files[0].relative_to(top)}", case)
        _check_paths(paths, folder, case)
        yield Written(paths, folder)


def _returned_paths(cls: type[Report], findings: Findings, folder: Path, case: str) -> list[Path]:
    try:
        paths = cls().write(findings, folder)
    except Exception as error:
        # an exception of the report says nothing of its input: the outcome reads it from here
        error.__dict__.setdefault("keeprate_case", case)
        raise
    if not isinstance(paths, list):
        raise Broken(f"write returned a {type(paths).__name__}, not a list of paths", case)
    return paths


def _check_paths(paths: list[Path], folder: Path, case: str = "") -> None:
    for path in paths:
        if not isinstance(path, Path):
            raise Broken(f"write returned {path!r}, which is no Path", case)
        if folder not in path.resolve().parents:
            raise Broken(f"write returned '{path}', outside of its folder", case)
        if not path.is_file():
            raise Broken(f"write returned '{path.name}', which is not there", case)


def _files_below(top: Path) -> set[Path]:
    return {path for path in top.rglob("*") if path.is_file()}


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Make `folder` the working directory for a while."""
    previous = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(previous)


_WRITES = ("write",)

REPORT_CHECKS: tuple[Check[type[Report]], ...] = (
    Check(
        "described",
        "It has a name and a docstring that begins with a sentence, and takes no arguments.",
        _described,
        ("name",),
    ),
    Check(
        "several-runs",
        "Of several runs it writes files into its folder alone, and returns their paths.",
        _several,
        _WRITES,
    ),
    Check("one-run", "One run is enough, the unpruned model's or another.", _one, _WRITES),
    Check("no-run", "A store without a run is no error.", _none, _WRITES),
    Check(
        "names", "Names of methods, models and data are text, whatever is in them.", _names, _WRITES
    ),
    Check("again", "It can be written again into the same folder.", _again, _WRITES),
)
"""Every promise of a report."""
