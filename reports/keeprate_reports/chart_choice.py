"""Which series a figure draws where there are more than a reader can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keeprate.analysis.model import GroupFindings, Point
from keeprate_reports.chart_looks import SERIES

OTHERS = "other series, on the front"


@dataclass(frozen=True)
class Choice:
    """The `series` drawn in all panels; runs of others are drawn only if on a Pareto front.

    `strangers` says whether there are such.
    """

    series: frozenset[str]
    strangers: bool

    def drawn(self, group: GroupFindings) -> list[Point]:
        """The runs of a group that are drawn, the cheapest first."""
        return [each for each in group.points if self._known(each) or each.on_front]

    def key(self, point: Point) -> str:
        """What a drawn run is called in the legend."""
        if not point.reduces:
            return f"{point.series} (unpruned)"
        return point.series if self._known(point) else OTHERS

    def line(self, point: Point) -> str:
        """What joins the runs of one curve; empty for a run that no curve goes through."""
        return f"{point.series} / {point.seed}" if self._known(point) else ""

    def _known(self, point: Point) -> bool:
        return not point.reduces or point.series in self.series


def chosen(groups: Sequence[GroupFindings]) -> Choice:
    """All series, or of more than `SERIES` those on a front, with most runs, most accurate."""
    runs: dict[str, list[Point]] = {}
    for point in (each for group in groups for each in group.points if each.reduces):
        runs.setdefault(point.series, []).append(point)
    ranked = sorted(runs, key=lambda name: (*_rank(runs[name]), name))
    series = frozenset(ranked[:SERIES])
    others = [point for name in ranked[SERIES:] for point in runs[name]]
    return Choice(series, any(point.on_front for point in others))


def _rank(points: Sequence[Point]) -> tuple[int, int, float]:
    """Small for series to draw."""
    front = sum(each.on_front for each in points)
    return -front, -len(points), -max(each.accuracy.value for each in points)
