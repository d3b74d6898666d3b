"""How metrics are shown and compared: their headings, units and directions, from the registry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import KeeprateError
from ..metric import SHARE, Metric
from ..plugins.registry import registry


@dataclass(frozen=True)
class MetricInfo:
    """A metric as reports show it: figures times `scale`, in `unit` ("%", "nats" or "").

    `column` is the column of the rows with its values, "" for a metric that is no mean of values.
    `in_brief` metrics stand in every table, others in the tables of all runs alone.
    """

    name: str
    heading: str
    unit: str = ""
    scale: float = 1.0
    higher_is_better: bool = True
    column: str = ""
    in_brief: bool = False

    @property
    def title(self) -> str:
        """The head of a column of a table: "Top-1 %", "KL, nats"."""
        return f"{self.heading} %" if self.unit == "%" else ", ".join(filter(None, self._parts))

    @property
    def axis(self) -> str:
        """The title of an axis: "Top-1 (%)", "KL (nats)"."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading

    @property
    def difference_unit(self) -> str:
        """The unit of differences: "points" for shares."""
        return "points" if self.unit == "%" else self.unit

    @property
    def digits(self) -> int:
        """The decimals of figures."""
        return 2 if self.unit == "%" else 4

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and the greatest value of an image before scaling, None where unknown."""
        return (0.0, 1.0) if self.unit == "%" else None

    @property
    def _parts(self) -> tuple[str, str]:
        return self.heading, self.unit

    def key(self, part: str = "") -> str:
        """Return the name of a column for programs: "top1_percent", "kl_low_nats"."""
        suffix = "percent" if self.unit == "%" else self.unit
        return "_".join(filter(None, [self.name.replace("-", "_"), part, suffix]))

    def difference_key(self, part: str = "") -> str:
        """Return the name of a column of differences: "difference_points"."""
        return "_".join(filter(None, ["difference", part, self.difference_unit]))

    @property
    def in_sentence(self) -> str:
        """The heading inside a sentence: "top-1", "KL"."""
        is_short_form = self.heading.isupper()
        return self.heading if is_short_form else self.heading[:1].lower() + self.heading[1:]

    def text(self, value: float) -> str:
        """Return a figure that is scaled already, with as many decimals as tables show."""
        return f"{value:.{self.digits}f}"


def compared_metric(name: str | None) -> MetricInfo:
    """Return the metric of this name, or the default one, by which runs are compared.

    Raises KeeprateError for an unknown name, and for a metric without a value for each image.
    """
    classes = {offer.name: offer.cls for offer in registry().metrics.values()}
    if name is not None:
        info = _info(registry().metric(name))
    else:
        defaults = [_info(cls) for cls in classes.values() if cls.is_default]
        if not defaults:
            raise KeeprateError("No metric is the default one here: name one with --metric.")
        info = defaults[0]
    if not info.column:
        usable = [other for other, cls in classes.items() if _info(cls).column]
        raise KeeprateError(
            f"Metric '{name}' has no value for each image, so runs cannot be compared by it. "
            f"Choose {', '.join(usable)}."
        )
    return info


def measured_metrics(names: Iterable[str]) -> tuple[MetricInfo, ...]:
    """Describe metrics that runs have; those of plugins that are not loaded by their name alone."""
    measured = dict.fromkeys(names)
    known = {name: _info(offer.cls) for name, offer in registry().metrics.items()}
    unknown = [MetricInfo(name, name) for name in sorted(measured) if name not in known]
    return (*(info for name, info in known.items() if name in measured), *unknown)


def _info(cls: type[Metric]) -> MetricInfo:
    is_share = cls.unit == SHARE
    return MetricInfo(
        name=cls.name,
        heading=cls.heading or cls.name,
        unit="%" if is_share else cls.unit,
        scale=100.0 if is_share else 1.0,
        higher_is_better=cls.higher_is_better,
        column=getattr(cls, "column", ""),
        in_brief=cls.in_brief,
    )
