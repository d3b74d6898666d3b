"""What is promised of every report: files in its folder alone, from any store, whatever names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..analysis.summary import Summary, summarise
from ..plugins.kinds import KINDS, Registered, check_class
from ..report import Report
from .outcome import Broken, Check
from .sample_results import HOSTILE, PATCHES, fill

_MARKUP = (".html", ".htm", ".svg", ".xml")


@dataclass(frozen=True)
class Written:
    """What a report wrote: the `paths` it returned and the files it left in its `folder`."""

    paths: list[Path]
    folder: Path


def _described(cls: type[Report]) -> str:
    name = check_class(KINDS["reports"], cls)
    said = Registered(name, cls, "", "", "").description
    if not said.endswith((".", ":", "!", "?")):
        raise Broken(f"its docstring begins with no sentence, but {said!r}")
    return ""


def _several(cls: type[Report]) -> str:
    with _written(cls, (PATCHES, 50, 40)) as written:
        return ", ".join(sorted(path.name for path in written.paths))


def _one(cls: type[Report]) -> str:
    for keeps in ((PATCHES,), (40,)):
        with _written(cls, keeps):
            pass
    return ""


def _none(cls: type[Report]) -> str:
    with _written(cls, ()):
        return ""


def _names(cls: type[Report]) -> str:
    with _written(cls, (PATCHES, 50, 40), HOSTILE) as written:
        for path in written.paths:
            if path.suffix in _MARKUP and "<script>alert('x')" in path.read_text("utf-8"):
                raise Broken(f"{path.name} has a name as markup, which a browser would run", _CASE)
    return ""


def _again(cls: type[Report]) -> str:
    """Write twice into one folder."""
    with _written(cls, (PATCHES, 50)) as written, TemporaryDirectory() as place:
        summary = summarise(fill(Path(place), (PATCHES, 40)))
        _check_paths(cls().write(summary, written.folder), written.folder)
    return ""


_CASE = "keeprate.testing.sample_results.fill(folder, (64, 50, 40), name=HOSTILE, model=HOSTILE)"


@contextmanager
def _written(cls: type[Report], keeps: tuple[int, ...], name: str = "made-up") -> Iterator[Written]:
    """Write a report of made-up runs in a folder of its own, and see that nothing else changes."""
    case = f"keeprate.testing.sample_results.fill(folder, {keeps})" if name != HOSTILE else _CASE
    with TemporaryDirectory() as place:
        top = Path(place).resolve()
        store, folder, here = top / "store", top / "deep" / "report", top / "here"
        folder.mkdir(parents=True)
        here.mkdir()
        summary = summarise(fill(store, keeps, name=name, model=name))
        before = _files(top)
        with _working_in(here):
            paths = _paths(cls, summary, folder, case)
        stray = [each for each in _files(top) - before if folder not in each.parents]
        if stray:
            raise Broken(f"it wrote outside its folder: {stray[0].relative_to(top)}", case)
        _check_paths(paths, folder, case)
        yield Written(paths, folder)


def _paths(cls: type[Report], summary: Summary, folder: Path, case: str) -> list[Path]:
    try:
        paths = cls().write(summary, folder)
    except Exception as error:
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


def _files(top: Path) -> set[Path]:
    return {path for path in top.rglob("*") if path.is_file()}


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Make `folder` the working directory, so that it shows what is written there."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


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
