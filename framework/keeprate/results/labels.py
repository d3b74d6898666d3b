"""Short names that tell the runs of a store from each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import printable

if TYPE_CHECKING:
    from .records import RunInfo


def labels_of(runs: Sequence[RunInfo], without: Collection[str] = ()) -> dict[str, str]:
    """Return, by run id, the method with those of its values in which its runs differ.

    The label is "tome" if all its runs agree, else "tome proportional_attention=false". Schedule
    and budget are no part of the label, because runs that differ only in them are points on one
    curve. Values named in `without`, such as the seed, are left out of all labels.
    """
    texts_by_value: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in runs:
        for name, text in choices_of(run).items():
            texts_by_value[run.method, name].add(text)
    differing = {
        key for key, texts in texts_by_value.items() if len(texts) > 1 and key[1] not in without
    }
    return {run.id: _label(run, differing) for run in runs}


def choices_of(run: RunInfo) -> dict[str, str]:
    """Return, as texts by name, all settings of a method's run but schedule, budget and data."""
    values = {**run.parameters, "empty_last_mlp": run.empty_last_mlp, "seed": run.seed}
    # two versions of one plugin file differ in nothing else
    values["source"] = run.sources.get("method", "")[:8]
    return {name: _value_text(value) for name, value in values.items()}


def text_of(values: Mapping[str, object]) -> str:
    """Return values as they are typed on the command line: "pattern=I-S iterations=30,5,1"."""
    return " ".join(f"{name}={_value_text(value)}" for name, value in values.items())


def _label(run: RunInfo, differing: Collection[tuple[str, str]]) -> str:
    shown_values = {
        name: text for name, text in choices_of(run).items() if (run.method, name) in differing
    }
    return f"{run.method} {text_of(shown_values)}".rstrip()


def _value_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_value_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else printable(str(value))
