"""What is measured of a run: metrics, costs, speed."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, PositiveInt, model_validator

from .record import Record

_METRICS_OF_FORMAT_2: Final = ("top1", "top5", "agreement", "kl")


class Macs(Record):
    """Multiply-accumulates per image, mean over the images; `overhead` is the method's own."""

    model: float
    overhead: float
    total: float
    unpruned: PositiveInt


class Throughput(Record):
    """Images per second, those of the unpruned model, and what they were measured on.

    `ratio` is the median of `ratios`, one for each of the `rounds`; older records have none.
    """

    images_per_second: float
    unpruned_images_per_second: float
    ratio: float
    device: str
    precision: str
    batch_size: int
    rounds: int
    ratios: tuple[float, ...] = ()


class Measured(Record):
    """The measurements of a run.

    `metrics` are figures by the names of metrics, in the units that these state (shares from 0 to
    1). `metric_sources` are hashes (SHA-256, hex) of the code that plugins brought for metrics, by
    name. `tokens` is the mean number of patch and prefix tokens after each block.
    """

    images: PositiveInt
    metrics: dict[str, float]
    metric_sources: dict[str, str] = Field(default_factory=dict)
    macs: Macs
    tokens: tuple[float, ...]
    wall_seconds: float
    throughput: Throughput | None

    @model_validator(mode="before")
    @classmethod
    def _of_format_2(cls, content: Any) -> Any:
        """Read a record of format 2, which had a field for each of four metrics."""
        if not isinstance(content, dict) or "metrics" in content:
            return content
        fields = {name: content[name] for name in _METRICS_OF_FORMAT_2 if name in content}
        others = {name: value for name, value in content.items() if name not in fields}
        return {**others, "metrics": fields}
