"""Intervals, tests, comparisons and curves on the results of single images (docs/statistics.md).

The package imports numpy and scipy only, so that summaries and reports can use it without torch;
names are looked up when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._lazy import lazy_names

if TYPE_CHECKING:
    from .bootstrap import BootstrapEstimate, bootstrap_mean, paired_bootstrap
    from .curves import (
        Curve,
        Missing,
        accuracy_at,
        area_difference,
        area_under_curve,
        common_range,
        difference_at,
    )
    from .medians import median_interval
    from .multiple_tests import PairedComparison, Scale, compare_runs, holm, judge
    from .pareto import pareto_front
    from .proportions import mcnemar_exact, paired_difference, wilson_interval
    from .seeds import Difference, difference, mean_over_seeds

__all__ = [
    "BootstrapEstimate",
    "Curve",
    "Difference",
    "Missing",
    "PairedComparison",
    "Scale",
    "accuracy_at",
    "area_difference",
    "area_under_curve",
    "bootstrap_mean",
    "common_range",
    "compare_runs",
    "difference",
    "difference_at",
    "holm",
    "judge",
    "mcnemar_exact",
    "mean_over_seeds",
    "median_interval",
    "paired_bootstrap",
    "paired_difference",
    "pareto_front",
    "wilson_interval",
]

_HOME = {
    "BootstrapEstimate": "bootstrap",
    "Curve": "curves",
    "Difference": "seeds",
    "Missing": "curves",
    "PairedComparison": "multiple_tests",
    "Scale": "multiple_tests",
    "accuracy_at": "curves",
    "area_difference": "curves",
    "area_under_curve": "curves",
    "bootstrap_mean": "bootstrap",
    "common_range": "curves",
    "compare_runs": "multiple_tests",
    "difference": "seeds",
    "difference_at": "curves",
    "holm": "multiple_tests",
    "judge": "multiple_tests",
    "mcnemar_exact": "proportions",
    "mean_over_seeds": "seeds",
    "median_interval": "medians",
    "paired_bootstrap": "bootstrap",
    "paired_difference": "proportions",
    "pareto_front": "pareto",
    "wilson_interval": "proportions",
}
__getattr__, __dir__ = lazy_names(__name__, _HOME)
