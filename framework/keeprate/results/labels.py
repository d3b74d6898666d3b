"""Short names that tell the runs of a store from one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from .records import RunInfo


def labels_of(runs: Sequence[RunInfo], without: Collection[str] = ()) -> dict[str, str]:
    """By run id, the method with those of its values in which its runs differ.

    "tome" where all runs of it agree, else "tome proportional_attention=false". What a schedule
    or a budget changes is no part of the label: those runs are points on one curve. Values named
    in `without`, such as the seed, are left out of all labels.
    """
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in runs:
        for name, text in choices_of(run).items():
            seen[run.method, name].add(text)
    told = {key for key, texts in seen.items() if len(texts) > 1 and key[1] not in without}
    return {run.id: _label(run, told) for run in runs}


def choices_of(run: RunInfo) -> dict[str, str]:
    """Everything about how a method runs, as text, that is neither schedule nor data."""
    values = {**run.parameters, "empty_last_mlp": run.empty_last_mlp, "seed": run.seed}
    values["source"] = run.sources.get("method", "")[:8]
    return {name: _spell(value) for name, value in values.items()}


def text_of(values: Mapping[str, object]) -> str:
    """Values by name as they are typed on the command line: "pattern=I-S iterations=30,5,1"."""
    return " ".join(f"{name}={_spell(value)}" for name, value in values.items())


def _label(run: RunInfo, told: Collection[tuple[str, str]]) -> str:
    shown = {name: text for name, text in choices_of(run).items() if (run.method, name) in told}
    return f"{run.method} {text_of(shown)}".rstrip()


def _spell(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_spell(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
