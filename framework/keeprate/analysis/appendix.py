"""The tables and command lists of an appendix: tokens, provenance, failed and skipped items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from .disagreement import DisagreedSample, Disagreement, PredictedClass
from .model import Findings, GroupFindings, PublishedPoint
from .provenance import FailedRun, Provenance, SkippedSample
from .run_table import FindingsTable, column, filled

MOST_COMMANDS: Final = 100
"""Most commands of single runs in a text for people; files for programs hold all of them."""

MOST_SKIPPED: Final = 100
"""Most skipped samples in a text for people; files for programs hold all of them."""


@dataclass(frozen=True)
class CommandList:
    """Commands to copy: a title, a sentence on what they do, and a pair of texts for each command.

    A pair holds what the command is for, "" where nothing tells the commands apart, and the
    command itself.
    """

    title: str
    caption: str
    commands: tuple[tuple[str, str], ...]


def appendix_tables(group: GroupFindings) -> list[FindingsTable]:
    """Return the tables of a group's appendix; a table without any content is left out.

    They hold tokens after each block, disagreement, published points, provenance and skipped
    samples.
    """
    tables = [tokens_table(group)]
    tables += [disagreement_table(group, group.disagreement)] if group.disagreement else []
    tables += [published_table(group)] if group.published else []
    tables += [shared_table(group), provenance_table(group), code_table(group)]
    return tables + ([skipped_table(group)] if group.skipped else [])


def tokens_table(group: GroupFindings) -> FindingsTable:
    """Return mean tokens after each block of every run; equal neighbours are written once."""
    points = group.points
    caption = (
        f"Mean patch and prefix tokens after each block, the first block first, with {group.model} "
        f"on n = {group.images:,} {group.samples}; 197 x3 stands for 197 after each of three "
        "blocks."
    )
    columns = (
        column("Run", points, lambda point: point.label, figures=False, rank=0),
        column("Budget or schedule", points, lambda point: point.asked or "-", figures=False),
        column(
            "Tokens after each block", points, lambda point: _tokens(point.tokens), figures=False
        ),
    )
    return FindingsTable("Tokens after each block", caption, filled(columns))


def published_table(group: GroupFindings) -> FindingsTable:
    """Return what papers print of the same model; each paper counts costs in its own way."""
    points = group.published
    caption = (
        f"Published of {points[0].backbone}, on each paper's own ruler: costs and accuracies are "
        "not those of the other tables, and no run is behind them. Compare rows of one training "
        "alone. Counted here: the model with that schedule, without the method's own cost."
    )
    columns = (
        column("Method", points, lambda point: point.method, figures=False, rank=0),
        column("Setting", points, lambda point: point.setting, figures=False),
        column("Training", points, lambda point: point.training, figures=False),
        column("GMACs", points, lambda point: _gmacs(point.macs, 2)),
        column("Counted here", points, lambda point: _gmacs(point.own_macs, 3)),
        column("% of unpruned", points, _published_share),
        column("Top-1 %", points, lambda point: f"{point.top1_percent:.2f}"),
        column("Images/s", points, _published_speed),
        column("Source", points, lambda point: point.source, figures=False),
        column("Costs", points, lambda point: point.ruler, figures=False),
        column(
            "Read off", points, lambda point: "a figure" if point.read_off else "", figures=False
        ),
        column("Note", points, lambda point: point.note, figures=False),
    )
    return FindingsTable("Published", caption, filled(columns))


def disagreement_table(group: GroupFindings, found: Disagreement) -> FindingsTable:
    """Return the samples on which runs at one cost disagree most, and what each run predicts."""
    samples = found.samples
    caption = (
        f"Where runs with {group.model} disagree most: {found.text} Of {found.images:,} "
        f"{group.samples} they disagree on {found.differing:,}. Classes that are right have a *."
    )
    columns = (
        column("Sample", samples, lambda sample: sample.sample, figures=False, rank=0),
        column("Class", samples, _label, figures=False),
        column(
            "Unpruned", samples, lambda sample: _prediction_text(sample.unpruned), figures=False
        ),
        *(
            column(label, samples, _prediction_of_run(position), figures=False)
            for position, label in enumerate(found.labels)
        ),
        column("Pairs that differ, %", samples, lambda sample: f"{sample.different_percent:.0f}"),
        column("KL spread, nats", samples, lambda sample: f"{sample.kl_spread_nats:.4f}"),
    )
    return FindingsTable("Disagreement", caption, filled(columns))


def shared_table(group: GroupFindings) -> FindingsTable:
    """Return the parts of the provenance that all runs of a group share."""
    origins = group.provenance
    same = [(name, text(origins[0])) for name, text in _ORIGIN.items() if _all_same(origins, text)]
    caption = f"What all {len(origins):,} runs with {group.model} on {group.data} have in common."
    columns = (
        column("What", same, lambda pair: pair[0], figures=False, rank=0),
        column("Value", same, lambda pair: pair[1] or "-", figures=False),
    )
    return FindingsTable("Provenance of all runs", caption, columns)


def provenance_table(group: GroupFindings) -> FindingsTable:
    """Return each run's id, start, duration, and the parts of its provenance that not all share."""
    origins = group.provenance
    differing = [name for name, text in _ORIGIN.items() if not _all_same(origins, text)]
    caption = (
        f"Runs with {group.model} on {group.data}: ids, and what they do not have in common. "
        "Seconds are a run's share of the passes it took part in."
    )
    columns = (
        column("Run id", origins, lambda origin: origin.run_id, figures=False, rank=0),
        column("Run", origins, lambda origin: origin.label, figures=False),
        column("Schedule", origins, lambda origin: origin.schedule or "-", figures=False),
        column("Budget", origins, lambda origin: origin.budget, figures=False),
        column("Started", origins, _started, figures=False),
        column("Seconds", origins, lambda origin: f"{origin.seconds:.4g}"),
        column("Notes", origins, lambda origin: "; ".join(origin.notes), figures=False),
        *(column(name, origins, _ORIGIN[name], figures=False) for name in differing),
    )
    return FindingsTable("Provenance of each run", caption, filled(columns))


def code_table(group: GroupFindings) -> FindingsTable:
    """Return the code that each method came from, with its hashes; equal rows are joined."""
    methods = {point.run_id: point.method for point in group.points}
    run_counts = Counter(
        (methods.get(origin.run_id, origin.label), origin.method_origin, *source)
        for origin in group.provenance
        for source in origin.sources or [("", "")]  # a run without plugin code keeps its row
    )
    rows = sorted(run_counts)
    columns = (
        column("Method", rows, lambda row: row[0], figures=False, rank=0),
        column("From", rows, lambda row: row[1], figures=False),
        column("Code of the", rows, lambda row: row[2], figures=False),
        column("SHA-256", rows, lambda row: row[3], figures=False),
        column("Runs", rows, lambda row: f"{run_counts[row]:,}"),
    )
    return FindingsTable("Code", "Where the code of the runs came from.", filled(columns))


def skipped_table(group: GroupFindings) -> FindingsTable:
    """Return the samples that were left out, with the reason: at most `MOST_SKIPPED` of them."""
    first = group.skipped[:MOST_SKIPPED]
    caption = f"Samples of {group.data} that could not be read and are in no figure"
    columns = (
        column("Sample", first, lambda sample: sample.sample, figures=False, rank=0),
        column("Reason", first, _reason, figures=False),
    )
    caption += _first_of(len(first), len(group.skipped))
    return FindingsTable("Skipped samples", caption, columns)


def failures_table(findings: Findings) -> FindingsTable | None:
    """Return the runs that failed and so are in no other table; None where no run failed."""
    failures = findings.failures
    if not failures:
        return None
    columns = (
        column("Run id", failures, lambda failure: failure.run_id, figures=False, rank=0),
        column("Run", failures, lambda failure: failure.label, figures=False),
        column("Started", failures, lambda failure: failure.started, figures=False, rank=2),
        column("Error", failures, _error, figures=False),
    )
    return FindingsTable("Failed runs", "Runs that failed and are in no figure.", columns)


def group_commands(group: GroupFindings) -> list[CommandList]:
    """Return the few commands that compute a whole group again, and those of its single runs.

    Those of single runs are left out where there are more than `MOST_COMMANDS`.
    """
    number = len(group.provenance)
    several = CommandList(
        "Commands",
        f"These compute all runs with {group.model} on {group.data} again.",
        tuple(("", command) for command in group.commands),
    )
    if number > MOST_COMMANDS:
        more = f" Those of its {number:,} single runs are in the findings as JSON and on the page."
        return [CommandList(several.title, several.caption + more, several.commands)]
    single = tuple((origin.run_id, origin.command) for origin in group.provenance)
    caption = "Each computes one run again, beside the unpruned one."
    return [several, CommandList("Commands of single runs", caption, single)]


def failed_commands(findings: Findings) -> CommandList | None:
    """Return commands that try failed runs again, at most `MOST_COMMANDS`; None without any."""
    failures = findings.failures
    if not failures:
        return None
    first = failures[:MOST_COMMANDS]
    caption = "Each tries a failed run again" + _first_of(len(first), len(failures))
    commands = tuple((failure.run_id, failure.command) for failure in first)
    return CommandList("Commands of failed runs", caption, commands)


def _first_of(laid_out: int, total: int) -> str:
    if laid_out == total:
        return "."
    return f": the first {laid_out:,} of {total:,}, the others are in the findings as JSON."


def _tokens(tokens: Sequence[float]) -> str:
    # group what is printed: means that differ beyond one decimal are one
    # texts are grouped, not figures: means that print alike are written once
    repeats = [(text, len(list(same))) for text, same in groupby(f"{t:.1f}" for t in tokens)]
    return ", ".join(
        text.removesuffix(".0") + (f" x{times}" if times > 1 else "") for text, times in repeats
    )


def _all_same(origins: Sequence[Provenance], text: Callable[[Provenance], str]) -> bool:
    return len({text(origin) for origin in origins}) == 1


def _label(sample: DisagreedSample) -> str:
    return _class(sample.label, sample.label_name)


def _prediction_of_run(position: int) -> Callable[[DisagreedSample], str]:
    return lambda sample: _prediction_text(sample.guesses[position])


def _prediction_text(predicted: PredictedClass | None) -> str:
    if predicted is None:
        return ""
    return _class(predicted.prediction, predicted.name) + ("*" if predicted.right else "")


def _class(number: int, name: str) -> str:
    return f"{name} ({number})" if name else str(number)


def _gmacs(macs: float | None, digits: int) -> str:
    return "" if macs is None else f"{macs / 1e9:.{digits}f}"


def _published_share(point: PublishedPoint) -> str:
    return "" if point.share_percent is None else f"{point.share_percent:.1f}"


def _published_speed(point: PublishedPoint) -> str:
    return "" if point.images_per_second is None else f"{point.images_per_second:.0f}"


def _started(origin: Provenance) -> str:
    """Return the start time; UTC, which the store always writes, is shorter than in ISO 8601."""
    return origin.started.replace("T", " ").replace("+00:00", " UTC")


def _reason(skipped: SkippedSample) -> str:
    return skipped.reason


def _error(failure: FailedRun) -> str:
    return failure.error


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs)


_ORIGIN: Final[dict[str, Callable[[Provenance], str]]] = {
    "Model": lambda origin: origin.model,
    "Weights": lambda origin: origin.weights,
    "Weights SHA-256": lambda origin: origin.weights_sha256,
    "Structure SHA-256": lambda origin: origin.structure_sha256,
    "Data": lambda origin: origin.data,
    "Samples SHA-256": lambda origin: origin.data_fingerprint,
    "Samples": lambda origin: f"{origin.images:,}",
    "Precision": lambda origin: origin.precision,
    "Device": lambda origin: origin.device,
    "Batch size": lambda origin: str(origin.batch_size),
    "Versions": lambda origin: _pairs(origin.versions),
    "Git revision": lambda origin: origin.git_revision or "",
}
"""The parts of a run's provenance, each with the function that gives its text."""
