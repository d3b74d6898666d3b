"""Print and draw what methods lose under corruptions beyond what the unpruned model loses.

    keeprate run robustness --set data.0=imagenet:DIR --set data.1.parameters.data=imagenet:DIR
    python benchmarks/robustness.py runs/robustness --chart robustness.svg

Reads finished runs of one model on one data set, clean and as `corrupted`. For each image, a run's
loss is whether it was right on the clean image less whether it is on the corrupted one. Shown is
the mean of a method's loss less the unpruned model's, in points, with its 95 % paired bootstrap
interval. Those of the table are not corrected for being many.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import altair as alt
import numpy as np
from numpy.typing import NDArray

from keeprate.analysis.statistics import BootstrapEstimate, paired_bootstrap
from keeprate.results.labels import labels_of
from keeprate.results.records import Result
from keeprate.results.store import Store
from keeprate_datasets.corrupted import Corrupted, corrupted_fingerprint

MEAN = "all kinds"
CLEAN = "none (clean)"
MOST = 2.0
"""The largest difference of two losses."""

Right = NDArray[np.float64]  # (N,): 1 where a run is right, by sample id


@dataclass(frozen=True)
class Corruption:
    """Top-1 of the unpruned model, 0 to 1, and what each method loses beyond it, by label."""

    title: str
    unpruned: float
    extra: Mapping[str, BootstrapEstimate]


def corruptions(store: Store) -> list[Corruption]:
    """Return the clean images first, where methods lose against the unpruned model; last the mean.

    Raises SystemExit where the runs are not those of one model, clean and corrupted.
    """
    results, _ = store.results()
    clean = [result for result in results if result.run.data.name != Corrupted.name]
    if len({result.run.setting for result in clean}) != 1:
        raise SystemExit(f"{store.folder} has no clean runs of one model, or those of several.")
    fingerprint = clean[0].run.data.fingerprint
    groups: dict[str, list[Result]] = {}
    for result in results:
        values = result.run.data.parameters
        if result.run.data.name == Corrupted.name:
            kind, severity = values["kind"], values["severity"]
            if result.run.data.fingerprint == corrupted_fingerprint(fingerprint, kind, severity):
                groups.setdefault(f"{kind} {severity}", []).append(result)
    if not groups:
        raise SystemExit(f"{store.folder} has no runs on the same images corrupted.")
    labels = labels_of([result.run for result in results])
    rights = {CLEAN: _rights(store, clean, labels)}
    rights |= {title: _rights(store, group, labels) for title, group in sorted(groups.items())}
    return _compared(rights, next(labels[each.id] for each in clean if not each.run.reduces))


def _rights(store: Store, results: Sequence[Result], labels: Mapping[str, str]) -> dict[str, Right]:
    """Return by label and cost whether each run is right on each image."""
    found = {}
    for result in results:
        rows = store.rows(result.id).sort("sample")
        label = f"{labels[result.id]} {result.run.budget or result.run.schedule}".rstrip()
        found[label] = rows["correct"].to_numpy().astype(np.float64)
    return found


def _compared(rights: Mapping[str, Mapping[str, Right]], unpruned: str) -> list[Corruption]:
    clean = rights[CLEAN]
    methods = [label for label in clean if label != unpruned]
    missing = [title for title, found in rights.items() if found.keys() != clean.keys()]
    if missing:
        raise SystemExit(f"Not all methods have finished on {', '.join(missing)}: run it again.")
    lost = {
        title: {label: clean[label] - right for label, right in found.items()}
        for title, found in rights.items()
        if title != CLEAN
    }
    lost[MEAN] = {
        label: np.mean([each[label] for each in lost.values()], axis=0) for label in clean
    }
    against_clean = {
        label: paired_bootstrap(clean[unpruned], clean[label], limit=1) for label in methods
    }
    first = Corruption(CLEAN, float(clean[unpruned].mean()), against_clean)
    return [first] + [
        Corruption(
            title,
            float((clean[unpruned] - losses[unpruned]).mean()),
            {
                label: paired_bootstrap(losses[label], losses[unpruned], limit=MOST)
                for label in methods
            },
        )
        for title, losses in lost.items()
    ]


def table(rows: Sequence[Corruption]) -> str:
    """Return the rows as a Markdown table, in points; what excludes 0 is bold."""
    methods = list(rows[0].extra)
    lines = [f"| corruption | unpruned, top-1 % | {' | '.join(methods)} |"]
    lines.append("| --- |" + " ---: |" * (1 + len(methods)))
    for row in rows:
        cells = [f"{100 * row.unpruned:.1f}", *(_cell(row.extra[label]) for label in methods)]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(estimate: BootstrapEstimate) -> str:
    value, low, high = (100 * end for end in (estimate.value, estimate.low, estimate.high))
    text = f"{value:+.1f}"
    return f"{f'**{text}**' if low > 0 or high < 0 else text} [{low:+.1f}, {high:+.1f}]"


def chart(rows: Sequence[Corruption]) -> alt.FacetChart:
    """Return the extra losses as points with intervals, one panel for each method."""
    values = [
        {"corruption": row.title, "method": label, **{k: 100 * v for k, v in vars(each).items()}}
        for row in rows[1:]
        for label, each in row.extra.items()
    ]
    kinds = alt.Y("corruption:N", sort=[row.title for row in rows[1:]], title=None)
    places = alt.Chart().encode(y=kinds)
    layers = alt.layer(
        alt.Chart().mark_rule(color="#999999").encode(x=alt.datum(0)),
        places.mark_rule().encode(x=alt.X("low:Q", title="points"), x2="high:Q"),
        places.mark_point(filled=True, size=45, opacity=1).encode(x="value:Q"),
    )
    order = list(rows[0].extra)
    panels = layers.properties(width=125, height=190, data=alt.Data(values=values))
    title = "Top-1 lost to corruptions beyond what the unpruned model loses (95 % intervals)"
    return panels.facet(column=alt.Column("method:N", sort=order, title=None), title=title)


def main() -> None:
    """Print the table and write the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--chart", type=Path, help="file to write the chart to, .svg or .png")
    asked = parser.parse_args()
    rows = corruptions(Store(asked.runs))
    print(table(rows))
    if asked.chart:
        chart(rows).save(str(asked.chart))


if __name__ == "__main__":
    main()
