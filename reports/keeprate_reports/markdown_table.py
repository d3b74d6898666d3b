"""Write the comparison as Markdown tables, with the meaning and the origin of their figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate.analysis.run_table import Column, table, unit_of
from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.appendix import CommandList
    from keeprate.analysis.changes import Changes
    from keeprate.analysis.model import Findings, GroupFindings
    from keeprate.analysis.run_table import FindingsTable

_MEANING = """\
- Costs are multiply-accumulates (MACs) per image, mean over the images, one multiply-accumulate \
counted as one: what papers call FLOPs. *Model* is what the network computes on the tokens it \
has left, *overhead* what the method itself adds; the share and the order are of their sum.
- *vs unpruned*: difference to the unpruned model on the same images, of shares in percentage \
points, with a {percent:g} % interval: that for paired proportions of Tango (1998) where an image \
is right or wrong, else a bootstrap interval. *p*: McNemar's exact test of that difference, or a \
paired t-test, two-sided, not corrected for the number of comparisons.
- *Agreement*: how often the prediction is the unpruned model's, right or wrong. *KL*: mean \
divergence of the prediction from the unpruned model's.
"""


class MarkdownTable(Report):
    """Tables of all runs, comparisons, ablations, tokens and provenance, in table.md."""

    name: ClassVar[str] = "markdown"

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write table.md."""
        parts = [_bullets(map(escape, findings.overview))] if findings.overview else []
        parts += [_section(group, findings.options.level) for group in findings.groups]
        parts += [_comparisons(group, findings.options.level) for group in findings.groups]
        if findings.groups:
            parts.append("## How it was computed\n\n" + _bullets(map(escape, findings.methods)))
        parts.append(
            "## What the figures mean\n\n" + _MEANING.format(percent=100 * findings.options.level)
        )
        parts += [_origins(group) for group in findings.groups]
        parts += _failures(findings)
        if findings.problems:
            parts.append("## Problems\n\n" + _bullets(map(escape, findings.problems)))
        path = folder / "table.md"
        path.write_text("# Token reduction compared\n\n" + "\n".join(parts), encoding="utf-8")
        return [path]

    def write_changes(self, changes: Changes, folder: Path) -> list[Path]:
        """Write changes.md."""
        from keeprate.analysis.tables import changes_tables

        parts = [f"{changes.unchanged} runs are in both with the same rows.\n"]
        parts += [
            f"## {escape(table.title)}\n\n{_markdown(table.columns)}"
            for table in changes_tables(changes)
        ]
        if changes.problems:
            parts.append("## Problems\n\n" + _bullets(map(escape, changes.problems)))
        title = f"# From {escape(changes.before)} to {escape(changes.after)}\n\n"
        path = folder / "changes.md"
        path.write_text(title + "\n".join(parts), encoding="utf-8")
        return [path]


def escape(text: str) -> str:
    """Escape `text` so that Markdown shows it as it is, on one line, also inside a table."""
    flat = " ".join(text.split())
    # & goes first, as the other entities contain one
    entities = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", entities)


def _section(group: GroupFindings, level: float) -> str:
    runs = _markdown(table(group, level))
    return f"## {escape(group.title)}\n\n{runs}\n{_bullets(_facts(group))}"


def _comparisons(group: GroupFindings, level: float) -> str:
    # imported late here and below: the analysis imports scipy, which start-up does not need
    from keeprate.analysis.tables import notes_of, tables_of

    sentences = _bullets(map(escape, (*group.overview, *notes_of(group))))
    parts = [f"## Compared: {escape(group.title)}\n\n{sentences}"]
    return "\n".join(
        parts + [_titled(table_of_group) for table_of_group in tables_of(group, level)]
    )


def _origins(group: GroupFindings) -> str:
    from keeprate.analysis.appendix import appendix_tables, group_commands

    parts = [f"## Tokens and provenance: {escape(group.title)}\n"]
    parts += [_titled(appendix_table) for appendix_table in appendix_tables(group)]
    return "\n".join(parts + [_commands(commands) for commands in group_commands(group)])


def _failures(findings: Findings) -> list[str]:
    from keeprate.analysis.appendix import failed_commands, failures_table

    failed_table, commands = failures_table(findings), failed_commands(findings)
    return [_titled(failed_table, "##"), _commands(commands)] if failed_table and commands else []


def _titled(table: FindingsTable, level: str = "###") -> str:
    laid_out = _markdown(table.columns, table.marked)
    return f"{level} {escape(table.title)}\n\n{escape(table.caption)}\n\n{laid_out}"


def _commands(commands: CommandList) -> str:
    """Return each command as it is typed, below the text on what it is for."""
    parts = [f"### {escape(commands.title)}\n\n{escape(commands.caption)}\n"]
    for what, command in commands.commands:
        introduction = f"{escape(what)}:\n\n" if what else ""
        parts.append(f"{introduction}{_fenced(command)}")
    return "\n".join(parts)


def _fenced(text: str) -> str:
    """Return `text` as it is, in a fence that is longer than any fence in it."""
    flat = text.replace("\r", " ").strip("\n")
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", flat)), default=0))
    return f"{fence}console\n{flat}\n{fence}\n"


def _markdown(columns: Sequence[Column], marked: Sequence[int] = ()) -> str:
    """Return a table; the first cell of the rows at the positions `marked` is set in bold."""
    headings = [escape(column.heading) for column in columns]
    rules = ["---:" if column.figures else "---" for column in columns]
    rows = zip(*(column.texts for column in columns), strict=True)
    cells = [_cells(row, position in marked) for position, row in enumerate(rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [headings, rules, *cells])


def _cells(row: Sequence[str], marked: bool) -> list[str]:
    first, *others = [escape(text) for text in row]
    return [f"**{first}**" if marked else first, *others]


def _facts(group: GroupFindings) -> list[str]:
    unit, (height, width) = unit_of(group), group.image_size
    # a text has a row of tokens where an image has a height
    texts = height == 1
    size = f"texts of up to {width} tokens" if texts else f"{height} x {width} pixels"
    lines = [
        f"Model: {group.model} ({group.model_class}), {group.num_parameters:,} parameters, "
        f"{size}, {group.unpruned_macs / unit.size:.3f} {unit.name} unpruned, "
        f"weights {group.weights} (SHA-256 {group.weights_sha256[:12]})",
        f"{'Texts' if texts else 'Images'}: {group.points[0].images:,} of {group.data}",
        f"Computed on {', '.join(group.devices)}, {group.precision}",
    ]
    if group.skipped:
        lines[1] += f", and {len(group.skipped):,} skipped as unreadable"
    if group.throughputs:
        where = "; ".join(group.throughputs)
        lines.append(f"Images/s measured on {where}; speed-up is against the unpruned model")
    return [escape(line) + "." for line in lines]


def _bullets(lines: Iterable[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)
