"""The sections of a report, one module each, computed from the runs of a group."""

from collections.abc import Callable
from typing import Final

from ..model import GroupFindings
from ..run_table import FindingsTable
from .alike import alike_table
from .best_by_metric import best_by_metric
from .cost_spread import cost_spread_table
from .smaller_models import smaller_models_table

TABLE_SECTIONS: Final[tuple[Callable[[GroupFindings], FindingsTable | None], ...]] = (
    best_by_metric,
    alike_table,
    smaller_models_table,
    cost_spread_table,
)
"""Sections that are one table, made from the other findings of a group; None where it is empty.

Every report lays them out in this order: a new one is a module with a function, and a line here.
"""
