"""Print how the runs of a store differ from one of them, image by image, at every budget.

    python benchmarks/paired.py runs/NAME METHOD [runs/OTHER]

METHOD is a method or a label of the reports, as "tome proportional_attention=false". Of several
runs of a method at a budget that is taken from which the others of it differ least: the default,
where each changes one parameter. Of it the table has top-1 in per cent and KL from the unpruned
model in thousandths of a nat; of the others the difference from it, with its 95 % interval. A
star marks what is left after Holm's correction over all differences of the metric.

With runs/OTHER, a store of the same runs on other images, it is by how much the differences in the
first exceed those in the other, with the interval that follows from theirs (Zou and Donner 2008,
Statistics in Medicine 27) and no correction: a star is where it excludes 0.
"""

from __future__ import annotations

import sys
from math import hypot
from pathlib import Path
from typing import Final, NamedTuple

from keeprate.analysis.statistics import Difference, Scale, difference, judge
from keeprate.results.labels import choices_of, labels_of, text_of
from keeprate.results.records import Result
from keeprate.results.store import Store

SCALES: Final = {"top1": Scale(), "kl": Scale(1000, "thousandths of a nat", False)}
COLUMNS: Final = (("top1", "correct", 1.0), ("kl", "kl", None))
"""Metric, its column in the rows, and the largest difference of an image, where there is one."""


class Cell(NamedTuple):
    """A place in the table: a metric at a budget, and the run's changes."""

    metric: str
    budget: str
    changed: str


def changes(run: Result, baseline: Result) -> dict[str, str]:
    """Return the values of a run that are not those of the baseline."""
    values, theirs = choices_of(run.run), choices_of(baseline.run)
    return {name: text for name, text in values.items() if text != theirs[name]}


def baseline_of(runs: list[Result], wanted: str, labels: dict[str, str]) -> Result:
    """Return the run of that label, or the run of that method from which its others differ least.

    Exits where there is none, or where two of a method are alike in that.
    """
    own = [run for run in runs if wanted in (run.run.method, labels[run.id])]
    if not own:
        raise SystemExit(f"No run of {wanted} at {runs[0].run.budget}.")
    distances = [sum(len(changes(run, each)) for run in own) for each in own]
    if distances.count(min(distances)) > 1:
        names = ", ".join(sorted(labels[run.id] for run in own))
        raise SystemExit(f"Which {wanted} at {runs[0].run.budget}? Name one of these: {names}.")
    return own[distances.index(min(distances))]


def read(folder: Path, wanted: str) -> tuple[dict[Cell, Difference], dict[Cell, float]]:
    """Return the differences from the baseline, and what the baseline itself has."""
    store = Store(folder)
    runs = [run for run in store.results()[0] if run.run.budget]
    labels = labels_of([run.run for run in runs])
    differences: dict[Cell, Difference] = {}
    own: dict[Cell, float] = {}
    for budget in sorted({str(run.run.budget) for run in runs}, reverse=True):
        rivals = [run for run in runs if run.run.budget == budget]
        baseline = baseline_of(rivals, wanted, labels)
        theirs = store.rows(baseline.id)
        for metric, column, limit in COLUMNS:
            own[Cell(metric, budget, "")] = baseline.measured.metrics[metric]
            for run in rivals:
                if run is not baseline:
                    same = run.run.method == baseline.run.method
                    changed = text_of(changes(run, baseline)) if same else labels[run.id]
                    pair = (rows[column].to_numpy() for rows in (store.rows(run.id), theirs))
                    differences[Cell(metric, budget, changed)] = difference(*pair, limit=limit)
    return differences, own


def excess(ours: Difference, others: Difference) -> Difference:
    """Return by how much a difference exceeds that of other images; there is no p-value."""
    value = ours.value - others.value
    low = value - hypot(ours.value - ours.low, others.high - others.value)
    high = value + hypot(ours.high - ours.value, others.value - others.low)
    return Difference(value, low, high, 0.0)


def texts(differences: dict[Cell, Difference]) -> dict[Cell, str]:
    """Return what the table says of each difference."""
    said = {}
    for metric, scale in SCALES.items():
        family = {cell: each for cell, each in differences.items() if cell.metric == metric}
        for cell, found in judge(family, scale=scale).items():
            star = "*" * found.distinguishable
            said[cell] = f"{found.difference:+.1f} [{found.low:+.1f}, {found.high:+.1f}]{star}"
    return said


def main() -> None:
    """Print the table."""
    folders, wanted = [Path(text) for text in sys.argv[1::2]], sys.argv[2]
    (differences, own), *others = [read(folder, wanted) for folder in folders]
    for elsewhere, _ in others:
        shared = differences.keys() & elsewhere.keys()
        differences = {cell: excess(differences[cell], elsewhere[cell]) for cell in shared}
    columns = [(cell.metric, cell.budget) for cell in own]
    heads = [f"{metric} at {budget}" for metric, budget in columns]
    print("|", " | ".join(["changed", *heads]), "|")
    print("| --- |" + " ---: |" * len(columns))
    said = texts(differences)
    baseline = [f"{SCALES[cell.metric].factor * value:.1f}" for cell, value in own.items()]
    print("|", " | ".join([f"**{wanted}**", *baseline]), "|")
    for changed in sorted({cell.changed for cell in said}):
        cells = (said.get(Cell(metric, budget, changed), "") for metric, budget in columns)
        print("|", " | ".join([changed, *cells]), "|")


if __name__ == "__main__":
    main()
