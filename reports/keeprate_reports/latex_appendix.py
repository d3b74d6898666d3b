"""The appendix in LaTeX: all runs, tokens, provenance, commands, and what is missing and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from .latex_tabular import HEAD, spanning
from .latex_text import breakable, code

if TYPE_CHECKING:
    from keeprate.analysis.appendix import CommandList
    from keeprate.analysis.model import GroupFindings
    from keeprate.analysis.summary import Group, Summary

_RUNS: Final = (
    "All runs, the cheapest first. Costs are multiply-accumulates (MACs) per image, the network's "
    "and what the method adds. Differences are in top-1, in points, to the unpruned model on the "
    "same images, with the interval for paired proportions of Agresti and Min (2005); p is "
    "McNemar's exact test, not corrected for the number of comparisons. Agreement: how often the "
    "prediction is the unpruned model's; KL: mean divergence from it."
)


def appendix(summary: Summary) -> str:
    """All that backs the tables: paragraphs, tables over several pages, and commands."""
    from keeprate.analysis.appendix import failed_commands, failures_table

    found = summary.findings
    parts = [HEAD, _paragraph("Overview", found.overview)]
    parts.append(_paragraph("How the figures were computed", found.methods))
    together = zip(summary.groups, found.groups, strict=False)
    for number, (group, findings) in enumerate(together, 1):
        parts += _group(group, findings, f"tab:keeprate-appendix-{number}")
    failed = failures_table(found)
    if failed:
        parts.append(spanning(failed, "tab:keeprate-failed"))
    parts += [_commands(each) for each in [failed_commands(found)] if each]
    if summary.problems:
        parts.append(_paragraph("Problems", summary.problems))
    return "\n".join(parts)


def _group(group: Group, found: GroupFindings, label: str) -> Iterator[str]:
    from keeprate.analysis.appendix import appendix_tables, group_commands
    from keeprate.analysis.run_table import table
    from keeprate.analysis.tables import FindingsTable, notes_of

    yield _paragraph(group.title, (*found.overview, *notes_of(found)))
    runs = FindingsTable("All runs", f"{group.title}. {_RUNS}", table(group))
    for number, each in enumerate([runs, *appendix_tables(found)], 1):
        yield spanning(each, f"{label}-{number}")
    for commands in group_commands(found):
        yield _commands(commands)


def _paragraph(title: str, lines: Sequence[str]) -> str:
    """A heading and sentences, each a line of its own."""
    said = "\\par\n".join(breakable(line) for line in lines)
    return _grouped(f"\\paragraph{{{breakable(title)}}} {said}\\par")


def _commands(commands: CommandList) -> str:
    lines = [
        rf"\paragraph{{{breakable(commands.title)}}} {breakable(commands.caption)}\par",
        r"\fontsize{8}{9.6}\selectfont",
        *(_command(what, command) for what, command in commands.commands),
    ]
    return _grouped("\n".join(lines))


def _grouped(text: str) -> str:
    start = r"\begingroup\sloppy\raggedright\setlength{\parindent}{0pt}"
    return f"{start}\n{text}\n\\endgroup\n"


def _command(what: str, command: str) -> str:
    named = f"{breakable(what)}: " if what else ""
    return rf"\hangindent=1em {named}{code(command)}\par\smallskip"
