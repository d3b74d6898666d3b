"""Write the appendix in LaTeX: all runs, tokens, provenance, commands, failures and problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from .latex_tabular import HEAD, spanning
from .latex_text import breakable, code

if TYPE_CHECKING:
    from keeprate.analysis.appendix import CommandList
    from keeprate.analysis.model import Findings, GroupFindings

_RUNS: Final = (
    "All runs, the cheapest first. Costs are multiply-accumulates (MACs) per image, the network's "
    "and what the method adds. Differences are to the unpruned model on the same images, of shares "
    "in points, with the interval for paired proportions of Tango (1998) where an image "
    "is right or wrong, else a bootstrap interval; p is McNemar's exact test, or a paired t-test, "
    "not corrected for the number of comparisons. Agreement: how often the "
    "prediction is the unpruned model's; KL: mean divergence from it."
)


def appendix(findings: Findings) -> str:
    """Return all that supports the tables: paragraphs, tables over several pages, and commands."""
    # the analysis imports scipy, which start-up does not need
    from keeprate.analysis.appendix import failed_commands, failures_table

    parts = [HEAD, _paragraph("Overview", findings.overview)]
    parts.append(_paragraph("How the figures were computed", findings.methods))
    for number, group in enumerate(findings.groups, 1):
        parts += _group(group, findings.options.level, f"tab:keeprate-appendix-{number}")
    failed_table = failures_table(findings)
    if failed_table:
        parts.append(spanning(failed_table, "tab:keeprate-failed"))
    parts += [_commands(commands) for commands in [failed_commands(findings)] if commands]
    if findings.problems:
        parts.append(_paragraph("Problems", findings.problems))
    return "\n".join(parts)


def _group(group: GroupFindings, level: float, label: str) -> Iterator[str]:
    from keeprate.analysis.appendix import appendix_tables, group_commands
    from keeprate.analysis.run_table import FindingsTable, table
    from keeprate.analysis.tables import notes_of

    yield _paragraph(group.title, (*group.overview, *notes_of(group)))
    runs = FindingsTable("All runs", f"{group.title}. {_RUNS}", table(group, level))
    for number, appendix_table in enumerate([runs, *appendix_tables(group)], 1):
        yield spanning(appendix_table, f"{label}-{number}")
    for commands in group_commands(group):
        yield _commands(commands)


def _paragraph(title: str, lines: Sequence[str]) -> str:
    """Return a heading and sentences, each on a line of its own."""
    sentences = "\\par\n".join(breakable(line) for line in lines)
    return _grouped(f"\\paragraph{{{breakable(title)}}} {sentences}\\par")


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
    introduction = f"{breakable(what)}: " if what else ""
    return rf"\hangindent=1em {introduction}{code(command)}\par\smallskip"
