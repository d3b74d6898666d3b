"""`keeprate check`: the promises, tried one by one on what a plugin offers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ...errors import KeeprateError
from ..options import plugin_options

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

    NAME is a method's, with parameters as for compare; a data set or a report is checked as well.
    FILE.py is a plugin: everything it offers is checked. Models are tiny and random; nothing is
    downloaded. The status is 1 if a promise is broken.
    """
    if listing:
        _list()
        return
    if what is None:
        raise KeeprateError("Name a method, data set or report, or a plugin FILE.py; or --list.")
    subjects = list(_subjects(what, only))
    if not subjects:
        raise KeeprateError(f"'{what}' offers nothing that is checked here.")
    held = [_told(title, outcomes) for title, outcomes in subjects]
    if not all(held):
        raise click.exceptions.Exit(1)


def _subjects(what: str, only: Sequence[str]) -> Iterator[tuple[str, Iterator[Outcome]]]:
    """Yield what is to be checked: a title, and the outcomes as they come."""
    from ...testing.lookup import named

    found, given = named(what)
    if given and sum(len(classes) for classes in found.values()) > 1:
        raise KeeprateError(f"'{what}' offers several: give parameters with a name, NAME:...")
    for kind, classes in found.items():
        if kind not in _CHECKED:
            click.echo(_elsewhere(kind, what), err=True)
            continue
        for cls in classes:
            yield _CHECKED[kind](cls, given, only)


def _method(
    cls: type[Any], given: Mapping[str, object], only: Sequence[str]
) -> tuple[str, Iterator[Outcome]]:
    from ...testing.lookup import method_subject
    from ...testing.runner import CHECKS, chosen, run_method

    chosen(CHECKS, only)
    subject = method_subject(cls, given)
    return f"Method '{subject.label}'", run_method(subject, only)


def _data(
    cls: type[Any], given: Mapping[str, object], only: Sequence[str]
) -> tuple[str, Iterator[Outcome]]:
    from ...plugins.parameters import build
    from ...testing.data_checks import DATA_CHECKS, DataBench
    from ...testing.runner import chosen, run_checks

    def make() -> Any:
        return build("data set", cls, given)

    make()
    checks = chosen(DATA_CHECKS, only)
    return f"Data set '{cls.name}'", run_checks(checks, cls, lambda: DataBench.of(cls, make))


def _report(
    cls: type[Any], given: Mapping[str, object], only: Sequence[str]
) -> tuple[str, Iterator[Outcome]]:
    from ...testing.report_checks import REPORT_CHECKS
    from ...testing.runner import chosen, run_checks

    if given:
        raise KeeprateError("A report has no parameters.")
    return f"Report '{cls.name}'", run_checks(chosen(REPORT_CHECKS, only), cls, lambda: cls)


_CHECKED: dict[str, Callable[..., tuple[str, Iterator[Outcome]]]] = {
    "methods": _method,
    "datasets": _data,
    "reports": _report,
}


def _elsewhere(kind: str, what: str) -> str:
    if kind == "backbones":
        return f"Backbones are proved on models: keeprate check-backbone {what}"
    return f"The {kind} of {what} are not checked."


def _told(title: str, outcomes: Iterator[Outcome]) -> bool:
    """Print outcomes as they come, and how many there were; tell whether all hold.

    What is not tried for one reason is told together, at the end.
    """
    from ...testing.outcome import indented, totals

    click.echo(title)
    seen: list[Outcome] = []
    untried: dict[str, list[str]] = {}
    for outcome in outcomes:
        seen.append(outcome)
        if outcome.status == "not tried":
            untried.setdefault(outcome.said, []).append(outcome.check)
            continue
        note = outcome.said if outcome.status != "broken" else ""
        line = f"  {_MARKS[outcome.status]}  {outcome.check:12} {outcome.seconds:5.2f} s  {note}"
        click.echo(line.rstrip())
        if outcome.status == "broken":
            click.echo(indented(outcome.text, 8))
    for said, checks in untried.items():
        click.echo(_told_together(checks, said))
    seconds = sum(outcome.seconds for outcome in seen)
    click.echo(f"{totals(tuple(seen))}; {seconds:.1f} s")
    return all(outcome.holds for outcome in seen)


def _told_together(checks: Sequence[str], said: str) -> str:
    """Return the names of checks that were not tried, and under them the one reason."""
    mark = f"  {_MARKS['not tried']}  "
    names = textwrap.wrap(", ".join(checks), 92, break_on_hyphens=False)
    return "\n".join([mark + f"\n{' ' * 8}".join(names), f"{' ' * 8}not tried: {said}"])


def _list() -> None:
    from ...testing.data_checks import DATA_CHECKS
    from ...testing.report_checks import REPORT_CHECKS
    from ...testing.runner import CHECKS

    for title, checks in (
        ("Of a method", CHECKS),
        ("Of a data set", DATA_CHECKS),
        ("Of a report", REPORT_CHECKS),
    ):
        click.echo(title)
        for each in checks:
            click.echo(f"  {each.name:12}  {each.promise}")
