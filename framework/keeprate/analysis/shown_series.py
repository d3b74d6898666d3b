"""Choose and name the series that reports and figures show, alike in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import unknown_name

if TYPE_CHECKING:
    from ..results.records import RunInfo


@dataclass(frozen=True)
class ShownSeries:
    """Which series are shown, under which names, in which order and colours.

    `methods` are names of methods or of series; all are shown where there are none, and the
    unpruned model always. `models` are those of the panels and tables. `labels` name methods or
    series anew; what a method's series have behind its name stays. `order` and `colours` (as
    "#0072B2") go by methods, series or labels. A series that `order` names keeps its place, and so
    its colour, also where it is not shown.
    """

    methods: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)

    def label(self, name: str) -> str:
        """Return what a series, or a run, of this name is called."""
        if name in self.labels:
            return self.labels[name]
        method, blank, rest = name.partition(" ")
        return self.labels.get(method, method) + blank + rest

    def shows(self, name: str) -> bool:
        """Tell whether a series of this name is shown."""
        return not self.methods or name in self.methods or name.split()[0] in self.methods

    def unpruned(self, label: str, method: str) -> str:
        """Return what the unpruned model is called in a legend."""
        return label if method in self.labels else f"{label} (unpruned)"

    def colour(self, label: str) -> str | None:
        """Return the colour that was asked for a series, by its label."""
        named = (colour for name, colour in self.colours.items() if self._is(name, label))
        return next(named, None)

    def ordered(self, labels: Iterable[str]) -> list[str]:
        """Return labels in the order of `order`, others behind them, and absent ones in place."""
        left = sorted(labels)
        placed: list[str] = []
        for name in self.order:
            alike = [label for label in left if self._is(name, label)]
            placed += alike or [self.label(name)]
            left = [label for label in left if label not in alike]
        return [*dict.fromkeys(placed), *left]

    @property
    def names(self) -> tuple[str, ...]:
        """Every method, series and label that is named."""
        return (*self.methods, *self.labels, *self.order, *self.colours)

    def _is(self, name: str, label: str) -> bool:
        return self.label(name) == label or label.startswith(f"{self.label(name)} ")


def check_names(shown: ShownSeries, runs: Sequence[RunInfo]) -> None:
    """Raise KeeprateError for a model or a method that no run has; series are checked later."""
    models = {run.backbone.name for run in runs}
    for model in shown.models:
        if model not in models:
            raise unknown_name("model", model, models)
    known = {run.method for run in runs} | set(shown.labels.values())
    for name in shown.names:
        if name not in known and name.split(" ")[0] not in known:
            raise unknown_name("method or series", name, known)
