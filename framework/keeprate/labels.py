"""Short names that tell the runs of a store from one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from .records import RunInfo


def labels_of(runs: Sequence[RunInfo]) -> dict[str, str]:
    """By run id, the method with those of its values in which its runs differ.

    "tome" where all runs of it agree, else "tome proportional_attention=false". What a schedule
    or a budget changes is no part of the label: those runs are points on one curve.
    """
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in runs:
        for name, text in _choices(run).items():
            seen[run.method, name].add(text)
    return {run.id: _label(run, seen) for run in runs}


def text_of(values: Mapping[str, object]) -> str:
    """Values by name as they are typed on the command line: "pattern=I-S iterations=30,5,1"."""
    return " ".join(f"{name}={_spell(value)}" for name, value in values.items())


def _label(run: RunInfo, seen: Mapping[tuple[str, str], set[str]]) -> str:
    choices = _choices(run)
    told = {name: text for name, text in choices.items() if len(seen[run.method, name]) > 1}
    return f"{run.method} {text_of(told)}".rstrip()


def _choices(run: RunInfo) -> dict[str, str]:
    """Everything about how a method runs, as text, that is neither schedule nor data."""
    values = {**run.parameters, "empty_last_mlp": run.empty_last_mlp, "seed": run.seed}
    values["source"] = run.sources.get("method", "")[:8]
    return {name: _spell(value) for name, value in values.items()}


def _spell(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_spell(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
