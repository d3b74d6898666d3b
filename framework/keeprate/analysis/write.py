"""Write reports of the runs in a folder; plugins provide the reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import KeeprateError, unknown_name
from ..plugins.kinds import Registered
from ..plugins.registry import registry
from ..results.atomic_files import explained, staged
from ..results.joined_stores import JoinedStores
from ..results.store import Store, run_files
from .build import findings, points_alone
from .model import Findings, ReportOptions
from .places import without_places
from .runs import LoadedRuns, gather
from .shown_series import ShownSeries

if TYPE_CHECKING:
    from ..report import Report
    from .figure import Figure


@dataclass(frozen=True)
class ReportFailure:
    """The error of a report that wrote no files; `origin` says where it was registered."""

    name: str
    origin: str
    error: Exception

    def __str__(self) -> str:
        return f"Report '{self.name}' of {self.origin} failed: {self.cause}"

    @property
    def cause(self) -> str:
        """The error in one line."""
        kind = "" if isinstance(self.error, KeeprateError) else f"{type(self.error).__name__}: "
        return " ".join(f"{kind}{self.error}".split())


@dataclass(frozen=True)
class WrittenReports:
    """The files that reports wrote, and the reports that failed."""

    files: tuple[Path, ...]
    failures: tuple[ReportFailure, ...]

    def failure_lines(self) -> list[str]:
        """Return a line for each cause, with the reports that it left unwritten."""
        by_cause: dict[str, list[ReportFailure]] = {}
        for failure in self.failures:
            by_cause.setdefault(failure.cause, []).append(failure)
        return [
            str(failures[0])
            if len(failures) == 1
            else f"Reports {', '.join(failure.name for failure in failures)} failed: {cause}"
            for cause, failures in by_cause.items()
        ]


def findings_of_folder(folder: Path, options: ReportOptions | None = None) -> Findings:
    """Compute what the runs in `folder` say.

    Raises KeeprateError as `runs_in` does, and for a mistake in `options`.
    """
    options = options or ReportOptions()
    return findings(runs_in(folder, options.metric, options.shown), options)


def runs_in(
    folder: Path, metric: str | None = None, shown: ShownSeries | None = None
) -> LoadedRuns:
    """Read the runs in `folder` with their scores by `metric`, or by the default one.

    Raises KeeprateError if it is missing or holds no finished run, for an unknown metric, and for a
    model or a method in `shown` that no run has.
    """
    check_folder(folder)
    evidence = gather(Store(folder), metric, shown)
    if not evidence.groups:
        raise _empty(folder, evidence)
    return evidence


def figure_findings(folders: Sequence[Path], figure: Figure) -> Findings:
    """Return what a figure shows of the runs in folders, without whole paths.

    Raises KeeprateError for a folder that is missing, for names that no run has, and if no finished
    run is left.
    """
    for folder in folders:
        check_folder(folder)
    return figure_of(JoinedStores(folders), figure)


def figure_of(store: Store, figure: Figure) -> Findings:
    """Return what a figure shows of the runs in a store; see `figure_findings`."""
    options = figure.options
    evidence = gather(store, options.metric, options.shown)
    if not evidence.groups:
        raise _empty(store.folder, evidence)
    return without_places(points_alone(evidence, options), [str(store.folder.absolute())])


def check_folder(folder: Path) -> None:
    """Raise KeeprateError, which names the nearest results folder, unless `folder` is a folder."""
    if not folder.exists():
        raise _missing(folder)
    if not folder.is_dir():
        raise KeeprateError(f"{folder} is a file, not a folder of results.")


def write_reports(
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    output: Path | None = None,
    found: Findings | None = None,
) -> WrittenReports:
    """Write the registered reports, or those in `names`, of the runs in `folder`.

    The files go into `output`, `folder` itself by default. Pass `found` if you have the findings.
    Texts have the last part alone of every path, unless `found` has the option `places`.
    A report that raises is listed in the failures, and the other reports are still written. Raises
    KeeprateError, before anything is computed, for a name that no report has.
    """
    reports = chosen_reports(names)
    shown = found or findings_of_folder(folder)
    short = shown if shown.options.places else without_places(shown, [str(folder.absolute())])
    return write_each(
        reports,
        output or folder,
        lambda report, into: report.write(shown if report.shows_places else short, into),
    )


def write_each(
    reports: Sequence[Registered[Report]],
    output: Path,
    write: Callable[[Report, Path], Sequence[Path]],
) -> WrittenReports:
    """Make the folder `output`, and call `write` with every report to fill it.

    The files of a report appear together, or not at all: then those of before are still there.
    """
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    failures: list[ReportFailure] = []
    for offer in reports:
        try:
            with staged(output) as temporary:
                written = [Path(path) for path in write(offer.cls(), temporary)]
            files += [_moved(path, temporary, output) for path in written]
        except Exception as error:  # a report is foreign code, which may raise anything
            failures.append(ReportFailure(offer.name, offer.origin, error))
    return WrittenReports(tuple(files), tuple(failures))


def _moved(path: Path, temporary: Path, output: Path) -> Path:
    """Return where a file is now; a report may have written it elsewhere."""
    return output / path.relative_to(temporary) if path.is_relative_to(temporary) else path


def chosen_reports(names: Sequence[str] | None) -> list[Registered[Report]]:
    """Return the reports of these names, or all reports; KeeprateError for an unknown name."""
    plugins = registry()
    for name in names or ():
        plugins.report(name)  # raises for an unknown name, with the nearest known one
    return [plugins.reports[name] for name in dict.fromkeys(names or plugins.reports)]


def _missing(folder: Path) -> KeeprateError:
    siblings = _results_folders(folder.parent)
    if siblings:
        return unknown_name("results folder", str(folder), siblings)
    return KeeprateError(f"No results folder '{folder}'. `keeprate compare` makes one.")


def _empty(folder: Path, evidence: LoadedRuns) -> KeeprateError:
    sentence = f"No finished run in {folder}."
    failures, problems = evidence.failures, evidence.problems
    if failures:
        return KeeprateError(f"{sentence} {len(failures)} failed: {failures[0].error}")
    if problems:
        return KeeprateError(f"{sentence} {len(problems)} unreadable: {problems[0]}.")
    if any((folder / "partial").glob("*")):
        return KeeprateError(
            f"{sentence} Some are unfinished: the command that began them goes on."
        )
    folders_inside = _results_folders(folder)
    return KeeprateError(
        f"{sentence} Did you mean {' or '.join(folders_inside)}?" if folders_inside else sentence
    )


def _results_folders(parent: Path) -> list[str]:
    """Return the folders in `parent` that hold results."""
    if not parent.is_dir():
        return []
    return sorted(str(path) for path in parent.iterdir() if run_files(path))
