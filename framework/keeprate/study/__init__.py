"""Studies: one specification of what is compared, checked and expanded before anything runs."""

from __future__ import annotations

from .arguments import Arguments
from .expansion import Study, expand
from .problems import Problem, Problems, StudyProblems
from .read import read_study
from .schema import StudySpec

__all__ = [
    "Arguments",
    "Problem",
    "Problems",
    "Study",
    "StudyProblems",
    "StudySpec",
    "expand",
    "read_study",
]
