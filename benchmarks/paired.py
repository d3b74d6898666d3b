"""Print every run of a store against one of them, image by image.

    python benchmarks/paired.py runs/NAME RUN_ID_OR_METHOD

For each run at the same budget: its top-1 minus the chosen run's, the 95 % interval, McNemar's
exact p, and the difference in mean KL from the unpruned model with its 95 % bootstrap
interval.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from keeprate.analysis.statistics import mcnemar_exact, paired_difference
from keeprate.results.labels import labels_of
from keeprate.results.records import Result
from keeprate.results.store import Store


def chosen(results: list[Result], wanted: str, budget: str | None) -> Result:
    """Return the run named by id, or the first of that label or method at `budget`."""
    labels = labels_of([result.run for result in results])
    for result in results:
        names = (result.id, labels[result.id], result.run.method)
        if wanted in names and (result.run.budget == budget or wanted == result.id):
            return result
    raise SystemExit(f"no run {wanted} at {budget}")


def main() -> None:
    """Print the table."""
    store, wanted = Store(Path(sys.argv[1])), sys.argv[2]
    results, _ = store.results()
    labels = labels_of([result.run for result in results])
    budgets = sorted({result.run.budget for result in results if result.run.budget})
    print("| run | budget | top-1 % | minus baseline, points [95 %] | p | KL | minus baseline |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for budget in budgets:
        baseline = chosen(results, wanted, budget)
        theirs = store.rows(baseline.id)
        same = [result for result in results if result.run.budget == budget]
        for result in sorted(same, key=lambda each: each.measured.metrics["kl"]):
            ours = store.rows(result.id)
            correct = [rows["correct"].to_numpy() for rows in (ours, theirs)]
            points, low, high = (100 * value for value in paired_difference(*correct))
            kl = ours["kl"].to_numpy() - theirs["kl"].to_numpy()
            interval = (0.0, 0.0)
            if np.ptp(kl):
                found = bootstrap((kl,), np.mean, rng=np.random.default_rng(0), n_resamples=2000)
                interval = (found.confidence_interval.low, found.confidence_interval.high)
            print(
                f"| {labels[result.id]} | {budget} | {100 * result.measured.metrics['top1']:.1f} | "
                f"{points:+.1f} [{low:+.1f}, {high:+.1f}] | {mcnemar_exact(*correct):.3f} | "
                f"{result.measured.metrics['kl']:.4f} | {kl.mean():+.4f} "
                f"[{interval[0]:+.4f}, {interval[1]:+.4f}] |"
            )


if __name__ == "__main__":
    main()
