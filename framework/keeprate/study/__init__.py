"""Study files: a grid of models, data sets, methods, costs and seeds, checked before it runs."""

from __future__ import annotations

from .problems import Problem, StudyProblems
from .read import Study, read_study

__all__ = ["Problem", "Study", "StudyProblems", "read_study"]
