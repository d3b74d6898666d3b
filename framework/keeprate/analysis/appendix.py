"""What an appendix holds, as tables of texts and lists of commands: tokens, provenance, losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from .disagreement import DisagreedSample, Disagreement, PredictedClass
from .model import Findings, GroupFindings, PublishedPoint
from .provenance import FailedRun, Provenance, SkippedSample
from .tables import FindingsTable, column, filled

MOST_COMMANDS: Final = 100
"""Commands of single runs that are laid out for people; files for programs hold them all."""

MOST_SKIPPED: Final = 100
"""Skipped samples that are laid out for people; files for programs hold them all."""


@dataclass(frozen=True)
class CommandList:
    """Commands to copy: a title, what they do in a sentence, and (what for, command) for each.

    The first text is "" where there is nothing to tell the commands apart by.
    """

    title: str
    caption: str
    commands: tuple[tuple[str, str], ...]


def appendix_tables(group: GroupFindings) -> list[FindingsTable]:
    """Tokens after each block, disagreement, published points, provenance, skipped samples.

    Those that there is something for.
    """
    tables = [tokens_table(group)]
    tables += [disagreement_table(group, group.disagreement)] if group.disagreement else []
    tables += [published_table(group)] if group.published else []
    tables += [shared_table(group), provenance_table(group), code_table(group)]
    return tables + ([skipped_table(group)] if group.skipped else [])


def tokens_table(group: GroupFindings) -> FindingsTable:
    """Mean tokens after each block of every run; equal ones in a row are written once."""
    points = group.points
    caption = (
        f"Mean patch and prefix tokens after each block, the first block first, with {group.model} "
        f"on n = {group.images:,} {group.samples}; 197 x3 stands for 197 after each of three "
        "blocks."
    )
    columns = (
        column("Run", points, lambda each: each.label, figures=False, rank=0),
        column("Budget or schedule", points, lambda each: each.asked or "-", figures=False),
        column("Tokens after each block", points, lambda p: _tokens(p.tokens), figures=False),
    )
    return FindingsTable("Tokens after each block", caption, filled(columns))


def published_table(group: GroupFindings) -> FindingsTable:
    """What papers print of the same model, on their own rulers."""
    points = group.published
    caption = (
        f"Published of {points[0].backbone}, on each paper's own ruler: costs and accuracies are "
        "not those of the other tables, and no run is behind them."
    )
    columns = (
        column("Method", points, lambda each: each.method, figures=False, rank=0),
        column("GMACs", points, lambda each: f"{each.macs / 1e9:.2f}"),
        column("% of unpruned", points, lambda each: f"{each.share_percent:.1f}"),
        column("Top-1 %", points, lambda each: f"{each.top1_percent:.2f}"),
        column("Images/s", points, _published_speed),
        column("Source", points, lambda each: each.source, figures=False),
        column("Costs", points, lambda each: each.ruler, figures=False),
        column("Read off", points, lambda p: "a figure" if p.read_off else "", figures=False),
    )
    return FindingsTable("Published", caption, filled(columns))


def disagreement_table(group: GroupFindings, found: Disagreement) -> FindingsTable:
    """The samples on which runs at one cost disagree most, and what each predicts."""
    samples = found.samples
    caption = (
        f"Where runs with {group.model} disagree most: {found.text} Of {found.images:,} "
        f"{group.samples} they disagree on {found.differing:,}. Classes that are right have a *."
    )
    columns = (
        column("Sample", samples, lambda each: each.sample, figures=False, rank=0),
        column("Class", samples, _label, figures=False),
        column("Unpruned", samples, lambda p: _guess(p.unpruned), figures=False),
        *(
            column(label, samples, _guessed(place), figures=False)
            for place, label in enumerate(found.labels)
        ),
        column("Pairs that differ, %", samples, lambda each: f"{each.different_percent:.0f}"),
        column("KL spread, nats", samples, lambda each: f"{each.kl_spread_nats:.4f}"),
    )
    return FindingsTable("Disagreement", caption, filled(columns))


def shared_table(group: GroupFindings) -> FindingsTable:
    """What all runs of a group have in common of where they come from."""
    origins = group.provenance
    same = [(name, text(origins[0])) for name, text in _ORIGIN.items() if _alike(origins, text)]
    caption = f"What all {len(origins):,} runs with {group.model} on {group.data} have in common."
    columns = (
        column("What", same, lambda each: each[0], figures=False, rank=0),
        column("Value", same, lambda each: each[1] or "-", figures=False),
    )
    return FindingsTable("Provenance of all runs", caption, columns)


def provenance_table(group: GroupFindings) -> FindingsTable:
    """The id of every run, when and how long it ran, and where its origin is not that of all."""
    origins = group.provenance
    differing = [name for name, text in _ORIGIN.items() if not _alike(origins, text)]
    caption = (
        f"Runs with {group.model} on {group.data}: ids, and what they do not have in common. "
        "Seconds are a run's share of the passes it took part in."
    )
    columns = (
        column("Run id", origins, lambda each: each.run_id, figures=False, rank=0),
        column("Run", origins, lambda each: each.label, figures=False),
        column("Schedule", origins, lambda each: each.schedule or "-", figures=False),
        column("Budget", origins, lambda each: each.budget, figures=False),
        column("Started", origins, _started, figures=False),
        column("Seconds", origins, lambda each: f"{each.seconds:.4g}"),
        column("Notes", origins, lambda each: "; ".join(each.notes), figures=False),
        *(column(name, origins, _ORIGIN[name], figures=False) for name in differing),
    )
    return FindingsTable("Provenance of each run", caption, filled(columns))


def code_table(group: GroupFindings) -> FindingsTable:
    """Which code the methods of a group came from, and its hashes, once for all runs alike."""
    methods = {each.run_id: each.method for each in group.points}
    found = Counter(
        (methods.get(each.run_id, each.label), each.method_origin, *source)
        for each in group.provenance
        for source in each.sources or [("", "")]
    )
    rows = sorted(found)
    columns = (
        column("Method", rows, lambda each: each[0], figures=False, rank=0),
        column("From", rows, lambda each: each[1], figures=False),
        column("Code of the", rows, lambda each: each[2], figures=False),
        column("SHA-256", rows, lambda each: each[3], figures=False),
        column("Runs", rows, lambda each: f"{found[each]:,}"),
    )
    return FindingsTable("Code", "Where the code of the runs came from.", filled(columns))


def skipped_table(group: GroupFindings) -> FindingsTable:
    """The samples that were left out and why: of many the first `MOST_SKIPPED`."""
    first = group.skipped[:MOST_SKIPPED]
    caption = f"Samples of {group.data} that could not be read and are in no figure"
    columns = (
        column("Sample", first, lambda each: each.sample, figures=False, rank=0),
        column("Reason", first, _reason, figures=False),
    )
    caption += _first_of(len(first), len(group.skipped))
    return FindingsTable("Skipped samples", caption, columns)


def failures_table(findings: Findings) -> FindingsTable | None:
    """The runs that failed and are in no other table; None where none did."""
    failures = findings.failures
    if not failures:
        return None
    columns = (
        column("Run id", failures, lambda each: each.run_id, figures=False, rank=0),
        column("Run", failures, lambda each: each.label, figures=False),
        column("Started", failures, lambda each: each.started, figures=False, rank=2),
        column("Error", failures, _error, figures=False),
    )
    return FindingsTable("Failed runs", "Runs that failed and are in no figure.", columns)


def group_commands(group: GroupFindings) -> list[CommandList]:
    """The few commands that compute a group again, and of up to `MOST_COMMANDS` runs each one's."""
    number = len(group.provenance)
    several = CommandList(
        "Commands",
        f"These compute all runs with {group.model} on {group.data} again.",
        tuple(("", each) for each in group.commands),
    )
    if number > MOST_COMMANDS:
        more = f" Those of its {number:,} single runs are in the findings as JSON and on the page."
        return [CommandList(several.title, several.caption + more, several.commands)]
    single = tuple((each.run_id, each.command) for each in group.provenance)
    caption = "Each computes one run again, beside the unpruned one."
    return [several, CommandList("Commands of single runs", caption, single)]


def failed_commands(findings: Findings) -> CommandList | None:
    """The commands that try failed runs again, of many the first `MOST_COMMANDS`; None without."""
    failures = findings.failures
    if not failures:
        return None
    first = failures[:MOST_COMMANDS]
    caption = "Each tries a failed run again" + _first_of(len(first), len(failures))
    commands = tuple((each.run_id, each.command) for each in first)
    return CommandList("Commands of failed runs", caption, commands)


def _first_of(shown: int, there: int) -> str:
    if shown == there:
        return "."
    return f": the first {shown:,} of {there:,}, the others are in the findings as JSON."


def _tokens(tokens: Sequence[float]) -> str:
    runs = [(each, len(list(same))) for each, same in groupby(f"{t:.1f}" for t in tokens)]
    return ", ".join(
        text.removesuffix(".0") + (f" x{times}" if times > 1 else "") for text, times in runs
    )


def _alike(origins: Sequence[Provenance], text: Callable[[Provenance], str]) -> bool:
    return len({text(each) for each in origins}) == 1


def _label(sample: DisagreedSample) -> str:
    return _class(sample.label, sample.label_name)


def _guessed(place: int) -> Callable[[DisagreedSample], str]:
    return lambda sample: _guess(sample.guesses[place])


def _guess(guess: PredictedClass | None) -> str:
    if guess is None:
        return ""
    return _class(guess.prediction, guess.name) + ("*" if guess.right else "")


def _class(number: int, name: str) -> str:
    return f"{name} ({number})" if name else str(number)


def _published_speed(point: PublishedPoint) -> str:
    return "" if point.images_per_second is None else f"{point.images_per_second:.0f}"


def _started(origin: Provenance) -> str:
    """To the second, and shorter than ISO 8601 where the time is UTC, as it is when written."""
    return origin.started.replace("T", " ").replace("+00:00", " UTC")


def _reason(skipped: SkippedSample) -> str:
    return skipped.reason


def _error(failure: FailedRun) -> str:
    return failure.error


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs)


_ORIGIN: Final[dict[str, Callable[[Provenance], str]]] = {
    "Model": lambda each: each.model,
    "Weights": lambda each: each.weights,
    "Weights SHA-256": lambda each: each.weights_sha256,
    "Structure SHA-256": lambda each: each.structure_sha256,
    "Data": lambda each: each.data,
    "Samples SHA-256": lambda each: each.data_fingerprint,
    "Samples": lambda each: f"{each.images:,}",
    "Precision": lambda each: each.precision,
    "Device": lambda each: each.device,
    "Batch size": lambda each: str(each.batch_size),
    "Versions": lambda each: _pairs(each.versions),
    "Git revision": lambda each: each.git_revision or "",
}
"""What a run's figures come from, by name."""
