"""`keeprate check`: tests the promises, one by one, on the classes that a plugin offers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ...errors import KeeprateError
from ..options import plugin_options
from ..printing import echo

if TYPE_CHECKING:
    from ...testing import Outcome


_MARKS = {"kept": "ok  ", "broken": "FAIL", "not asked": "skip", "not tried": "----"}


@click.command("check")
@click.argument("what", metavar="FILE_OR_NAME[:PARAMETERS]", required=False)
@click.option("--only", multiple=True, metavar="CHECK", help="Try this one; may be repeated.")
@click.option("--list", "listing", is_flag=True, help="Show the checks and what each promises.")
@plugin_options
def check(what: str | None, only: tuple[str, ...], listing: bool) -> None:
    """Try what keeprate promises of every method on yours.

    NAME is a method's, with parameters as for compare; data sets, metrics and reports are checked
    as well. FILE.py is a plugin: everything it offers is checked. Models are tiny and random;
    nothing is downloaded. The status is 1 if a promise is broken.
    """
    if listing:
        _list()
        return
    if what is None:
        raise KeeprateError(
            "Name a method, data set, metric or report, or a plugin FILE.py; or --list."
        )
    # a list, so that a wrong name or parameter is told before the first check runs
    subjects = list(_subjects(what, only))
    if not subjects:
        raise KeeprateError(f"'{what}' offers nothing that is checked here.")
    results = [_print_outcomes(title, outcomes) for title, outcomes in subjects]
    if not all(results):
        raise click.exceptions.Exit(1)


def _subjects(what: str, only: Sequence[str]) -> Iterator[tuple[str, Iterator[Outcome]]]:
    """Yield a title for each class to check, and an iterator that yields its outcomes."""
    from ...testing.lookup import named

    classes_by_kind, parameters = named(what)
    if parameters and sum(len(classes) for classes in classes_by_kind.values()) > 1:
        raise KeeprateError(f"'{what}' offers several: give parameters with a name, NAME:...")
    for kind, classes in classes_by_kind.items():
        if kind not in _CHECKED:
            echo(_unchecked_kind_text(kind, what), err=True)
            continue
        for cls in classes:
            yield _CHECKED[kind](cls, parameters, only)


def _method(
    cls: type[Any], parameters: Mapping[str, object], only: Sequence[str]
) -> tuple[str, Iterator[Outcome]]:
    from ...testing.lookup import method_subject
    from ...testing.runner import CHECKS, chosen, run_method

    chosen(CHECKS, only)  # raises for an unknown name; run_method selects the checks again
    subject = method_subject(cls, parameters)
    return f"Method '{subject.label}'", run_method(subject, only)


def _data(
    cls: type[Any], parameters: Mapping[str, object], only: Sequence[str]
) -> tuple[str, Iterator[Outcome]]:
    from ...plugins.parameters import build
    from ...testing.data_checks import DATA_CHECKS, DataBench
    from ...testing.runner import chosen, run_checks

    def make() -> Any:
        return build("data set", cls, parameters)

    make()  # once now: a wrong parameter is the user's mistake, not a broken promise
    checks = chosen(DATA_CHECKS, only)
    return f"Data set '{cls.name}'", run_checks(checks, cls, lambda: DataBench.of(cls, make))


def _metric(
    cls: type[Any], parameters: Mapping[str, object], only: Sequence[str]
) -> tuple[str, Iterator[Outcome]]:
    from ...testing.metric_checks import METRIC_CHECKS, MetricBench
    from ...testing.runner import chosen, run_checks

    if parameters:
        raise KeeprateError("A metric has no parameters.")
    checks = chosen(METRIC_CHECKS, only)
    return f"Metric '{cls.name}'", run_checks(checks, cls, lambda: MetricBench(cls))


def _report(
    cls: type[Any], parameters: Mapping[str, object], only: Sequence[str]
) -> tuple[str, Iterator[Outcome]]:
    from ...testing.report_checks import REPORT_CHECKS
    from ...testing.runner import chosen, run_checks

    if parameters:
        raise KeeprateError("A report has no parameters.")
    return f"Report '{cls.name}'", run_checks(chosen(REPORT_CHECKS, only), cls, lambda: cls)


_CHECKED: dict[str, Callable[..., tuple[str, Iterator[Outcome]]]] = {
    "methods": _method,
    "datasets": _data,
    "metrics": _metric,
    "reports": _report,
}


def _unchecked_kind_text(kind: str, what: str) -> str:
    if kind == "backbones":
        return f"Backbones are proved on models: keeprate check-backbone {what}"
    return f"The {kind} of {what} are not checked."


def _print_outcomes(title: str, outcomes: Iterator[Outcome]) -> bool:
    """Print each outcome as it comes, and then the totals; return whether all promises hold.

    Checks that were not tried for the same reason are printed together, at the end.
    """
    from ...testing.outcome import indented, totals

    echo(title)
    all_outcomes: list[Outcome] = []
    untried: dict[str, list[str]] = {}
    for outcome in outcomes:
        all_outcomes.append(outcome)
        if outcome.status == "not tried":
            untried.setdefault(outcome.said, []).append(outcome.check)
            continue
        note = outcome.said if outcome.status != "broken" else ""
        line = f"  {_MARKS[outcome.status]}  {outcome.check:12} {outcome.seconds:5.2f} s  {note}"
        echo(line.rstrip())
        if outcome.status == "broken":
            echo(indented(outcome.text, 8))
    for reason, checks in untried.items():
        echo(_join_untried(checks, reason))
    seconds = sum(outcome.seconds for outcome in all_outcomes)
    echo(f"{totals(tuple(all_outcomes))}; {seconds:.1f} s")
    return all(outcome.holds for outcome in all_outcomes)


def _join_untried(checks: Sequence[str], reason: str) -> str:
    """Return lines with the names of checks that were not tried, and below them the reason."""
    mark = f"  {_MARKS['not tried']}  "
    # 92 and the margin of 8 make the usual line of 100 characters
    names = textwrap.wrap(", ".join(checks), 92, break_on_hyphens=False)
    return "\n".join([mark + f"\n{' ' * 8}".join(names), f"{' ' * 8}not tried: {reason}"])


def _list() -> None:
    from ...testing.data_checks import DATA_CHECKS
    from ...testing.metric_checks import METRIC_CHECKS
    from ...testing.report_checks import REPORT_CHECKS
    from ...testing.runner import CHECKS

    for title, checks in (
        ("Of a method", CHECKS),
        ("Of a data set", DATA_CHECKS),
        ("Of a metric", METRIC_CHECKS),
        ("Of a report", REPORT_CHECKS),
    ):
        echo(title)
        for check in checks:
            echo(f"  {check.name:12}  {check.promise}")
