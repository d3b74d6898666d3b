"""Choose the series that a figure draws if there are more than a reader can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from keeprate.analysis.model import GroupFindings, Point
from keeprate.analysis.shown_series import ShownSeries
from keeprate_reports.chart_looks import LOOKS, SERIES

OTHERS = "other series, on the front"


@dataclass(frozen=True)
class Choice:
    """The `series` drawn in all panels; a run of another series is drawn only on a Pareto front.

    `strangers` says whether there are such runs.
    """

    series: frozenset[str]
    strangers: bool
    shown: ShownSeries = field(default_factory=ShownSeries)

    def drawn(self, group: GroupFindings) -> list[Point]:
        """Return the runs of a group that are drawn, the cheapest first."""
        return [point for point in group.points if self._known(point) or point.on_front]

    def key(self, point: Point) -> str:
        """Return the name of a drawn run in the legend."""
        if not point.reduces:
            return self.shown.unpruned(point.series, point.method)
        return point.series if self._known(point) else OTHERS

    def line(self, point: Point) -> str:
        """Return a text that the runs of one curve share; empty for a run outside all curves."""
        return f"{point.series} / {point.seed}" if self._known(point) else ""

    def _known(self, point: Point) -> bool:
        return not point.reduces or point.series in self.series


def chosen(groups: Sequence[GroupFindings], shown: ShownSeries, most: int = SERIES) -> Choice:
    """Choose all series; of more than `most`, those on a front, with most runs, most accurate.

    Of series that were named as many are chosen as have looks of their own.
    """
    runs: dict[str, list[Point]] = {}
    for point in (
        reducing_point
        for group in groups
        for reducing_point in group.points
        if reducing_point.reduces
    ):
        runs.setdefault(point.series, []).append(point)
    ranked = sorted(runs, key=lambda name: (*_rank(runs[name]), name))
    most = max(most, LOOKS) if shown.methods else most
    others = [point for name in ranked[most:] for point in runs[name]]
    return Choice(frozenset(ranked[:most]), any(point.on_front for point in others), shown)


def _rank(points: Sequence[Point]) -> tuple[int, int, float]:
    """Return the rank of a series; those with the smallest ranks are drawn."""
    front = sum(point.on_front for point in points)
    return -front, -len(points), -max(point.score.value for point in points)
