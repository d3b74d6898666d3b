"""What the runs of a store say: worked out once, shown by any report (docs/reports.md)."""

from .model import (
    FINDINGS_VERSION,
    Ablation,
    AreaDifference,
    CurveFinding,
    EqualCost,
    Findings,
    GroupFindings,
    Interval,
    Options,
    Point,
    PublishedPoint,
    Reading,
    Rival,
    Setting,
    Verdict,
)
from .origin import FailedRun, Provenance, SkippedSample

__all__ = [
    "FINDINGS_VERSION",
    "Ablation",
    "AreaDifference",
    "CurveFinding",
    "EqualCost",
    "FailedRun",
    "Findings",
    "GroupFindings",
    "Interval",
    "Options",
    "Point",
    "Provenance",
    "PublishedPoint",
    "Reading",
    "Rival",
    "Setting",
    "SkippedSample",
    "Verdict",
]
