"""Print the runs of a store of texts against one of them, by the length of the texts.

    python benchmarks/sentences.py runs/NAME METHOD [GROUPS]

METHOD is chosen as by paired.py: a method or a label of the reports. The texts are split by their
tokens into GROUPS (3) of about equal size; all of them together come last. For each run at the same
budget: its cost as a share of the unpruned model's on these texts, since short texts can reach few
costs; top-1 minus the chosen run's, with its 95 % interval and McNemar's exact p; and the
difference in mean KL from the unpruned model with its 95 % bootstrap interval.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from paired import baseline_of

from keeprate.analysis.statistics import mcnemar_exact, paired_bootstrap, paired_difference
from keeprate.results.labels import labels_of
from keeprate.results.records import Result
from keeprate.results.store import Store

Groups = dict[str, NDArray[np.intp]]
"""The positions of the rows of each group, by its name."""


def groups_by_length(unpruned: pl.DataFrame, count: int) -> Groups:
    """Split rows by the tokens that leave the first block; texts of one length stay together."""
    lengths = unpruned["tokens"].list.first().to_numpy()
    bounds = np.quantile(lengths, np.arange(1, count) / count)
    group = np.searchsorted(bounds, lengths)  # (N,)
    parts = [np.flatnonzero(group == number) for number in np.unique(group)]
    return {_title(lengths[part]): part for part in [*parts, np.arange(len(lengths))]}


def _title(lengths: NDArray[np.int64]) -> str:
    return f"{lengths.min()} to {lengths.max()} tokens ({len(lengths)})"


def cells(ours: pl.DataFrame, theirs: pl.DataFrame, unpruned: pl.DataFrame) -> list[str]:
    """Return cost, top-1 and KL of one group of rows, the last two beside those of `theirs`."""
    share = ours["macs"].sum() / unpruned["macs"].sum()
    correct = [rows["correct"].to_numpy() for rows in (ours, theirs)]
    points, low, high = (100 * value for value in paired_difference(*correct))
    kl = paired_bootstrap(ours["kl"].to_numpy(), theirs["kl"].to_numpy())
    return [
        f"{share:.1%}",
        f"{100 * correct[0].mean():.1f}",
        f"{points:+.1f} [{low:+.1f}, {high:+.1f}]",
        f"{mcnemar_exact(*correct):.3f}",
        f"{ours['kl'].mean():.4f}",
        f"{kl.value:+.4f} [{kl.low:+.4f}, {kl.high:+.4f}]",
    ]


def table(store: Store, wanted: str, budget: str, count: int) -> list[str]:
    """Return the lines of the table for one budget, group by group, the nearest runs first."""
    results = store.results()[0]
    labels = labels_of([result.run for result in results])
    unpruned = store.rows(next(each.id for each in results if not each.run.reduces))
    same = [result for result in results if result.run.budget == budget]
    baseline = store.rows(baseline_of(same, wanted, labels).id)
    lines = []
    for title, part in groups_by_length(unpruned, count).items():
        lines += [
            f"\nat {budget}, {title}:\n",
            "| run | of unpruned | top-1 % | minus baseline, points [95 %] | p "
            "| KL | minus baseline [95 %] |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        rows = {result.id: store.rows(result.id)[part] for result in same}
        for result in sorted(same, key=lambda each: rows[each.id]["kl"].mean()):
            found = cells(rows[result.id], baseline[part], unpruned[part])
            lines.append(f"| {labels[result.id]} | {' | '.join(found)} |")
    return lines


def budgets_of(results: list[Result]) -> list[str]:
    """Return the budgets of a store, the largest share first."""
    texts = {result.run.budget for result in results if result.run.budget}
    return sorted(texts, key=lambda text: -float(text.rstrip("%")))


def main() -> None:
    """Print a table for each budget."""
    store, wanted = Store(Path(sys.argv[1])), sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    for budget in budgets_of(store.results()[0]):
        print("\n".join(table(store, wanted, budget, count)))


if __name__ == "__main__":
    main()
