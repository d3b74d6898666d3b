"""Study files: a grid of models, data sets, methods, costs and seeds, checked before it runs."""

from __future__ import annotations

from .reading import Study, read_study
from .source import Problem, StudyProblems

__all__ = ["Problem", "Study", "StudyProblems", "read_study"]
