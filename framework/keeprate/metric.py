"""The interface of a metric: what the predictions of a run are worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:  # reports read names and headings alone, without the seconds that torch takes
    from torch import Tensor

SHARE: Final = "share"
"""The unit of metrics from 0 to 1, which reports show in per cent."""


@dataclass(frozen=True)
class Targets:
    """What the data set says about B samples.

    `ids` are the samples' ids. `labels` int64 (B, L) are their classes, L the largest number of
    classes of a sample in the batch; where a sample has fewer, -1 fills the row.
    """

    ids: tuple[str, ...]
    labels: Tensor

    def among(self, classes: Tensor) -> Tensor:
        """Tell which of the classes (B, M) are labels of their sample: bool (B, M)."""
        # -1 stands for no class, and no class is -1
        return (classes[:, :, None] == self.labels[:, None, :]).any(dim=2)


@dataclass(frozen=True)
class Predictions:
    """The logits (B, K) of a run, and those of the unpruned model on the same samples.

    What several metrics need is computed once, at the first use.
    """

    logits: Tensor
    reference: Tensor

    @cached_property
    def ranking(self) -> Tensor:
        """The classes of each sample, best first, int64 (B, K). Ties go to the lower class."""
        # stable, so that the class of a tie is the same on every device
        return self.logits.argsort(dim=1, descending=True, stable=True)

    @cached_property
    def reference_ranking(self) -> Tensor:
        """The classes of each sample by the unpruned model, best first, int64 (B, K)."""
        return self.reference.argsort(dim=1, descending=True, stable=True)

    @cached_property
    def log_probs(self) -> Tensor:
        """The logarithms of the probabilities, float64 (B, K)."""
        return self.logits.double().log_softmax(dim=1)

    @cached_property
    def reference_log_probs(self) -> Tensor:
        """The logarithms of the unpruned model's probabilities, float64 (B, K)."""
        return self.reference.double().log_softmax(dim=1)


class Metric(ABC):
    """A figure of a run, computed from the rows of its samples.

    To offer one, subclass, set `name`, `heading` and `columns`, write a docstring whose first
    sentence describes it, and return the class from the hook `keeprate_metrics`. The constructor
    takes no arguments. Derive a quantity that each sample has, and whose mean is the figure, from
    `ImageMetric`.
    """

    name: ClassVar[str]
    heading: ClassVar[str] = ""
    """The words of charts and heads of tables, without the unit: "Top-1"; else the name."""
    unit: ClassVar[str] = SHARE
    """`SHARE` for figures from 0 to 1; anything else is shown as it is: "nats"."""
    higher_is_better: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]]
    """The columns of a run's rows that `combine` reads."""
    in_brief: ClassVar[bool] = False
    """Whether it stands in short tables and lines beside the metric that these are about."""
    is_default: ClassVar[bool] = False
    """Whether reports compare by this metric where the user names none."""

    @abstractmethod
    def combine(self, columns: Mapping[str, Tensor]) -> float:
        """Return the figure of N samples from the `columns`, each (N,), bool, int64 or float64."""


class ImageMetric(Metric):
    """A metric with a value for each sample, whose mean over the samples is the figure.

    The values are a column of every run's rows, named as the metric. Runs are compared sample by
    sample: by McNemar's test where all values are true or false, else by paired bootstrap.
    """

    column: ClassVar[str]
    """The column of the rows; the name of the metric where the class names none."""
    columns: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "column" not in cls.__dict__ and isinstance(getattr(cls, "name", None), str):
            cls.column = cls.name
        cls.columns = (getattr(cls, "column", ""),)

    @abstractmethod
    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return a value for each of B samples, (B,), bool or floating point.

        NaN leaves a sample out of the mean, as one without a label. The values of a sample must
        not depend on the other samples.
        """

    def combine(self, columns: Mapping[str, Tensor]) -> float:
        """Return the mean over the samples that have a value, NaN where none has."""
        return float(columns[self.column].double().nanmean())
