"""All that the loop knows of the task, which is to classify: rows of predictions, and metrics."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import OutOfMemoryError, Tensor

from ..dataset import Sample
from ..errors import KeeprateError
from ..metric import ImageMetric, Metric, Predictions, Targets
from ..plugins.code.code_hash import source_sha256
from ..plugins.registry import registry

TOP = 5


def targets_of(samples: Iterable[Sample], device: torch.device) -> Targets:
    """Return what a data set says about some samples, on `device`."""
    chosen = list(samples)
    classes = [torch.as_tensor(sample.label).reshape(-1) for sample in chosen]
    labels = torch.nn.utils.rnn.pad_sequence(classes, batch_first=True, padding_value=-1)
    return Targets(tuple(sample.id for sample in chosen), move_data_to_device(labels, device))


def metrics() -> dict[str, Metric]:
    """Return the registered metrics by name."""
    return {name: offer.cls() for name, offer in registry().metrics.items()}


def metric_sources(names: Iterable[str]) -> dict[str, str]:
    """Return a hash of the code of each of these metrics that a plugin brought."""
    sources = {name: source_sha256(registry().metric(name)) for name in names}
    # those that come with keeprate have none: they change with the version of the rows
    return {name: source for name, source in sources.items() if source}


def columns_of(
    logits: Tensor, reference: Tensor, targets: Targets, chosen: Mapping[str, Metric]
) -> dict[str, Tensor]:
    """Return the columns of B rows: the prediction, and a value of each metric that has values.

    `label` is the lowest label of a sample, `top5` (B, min(5, K)) the best classes, best first.
    Raises KeeprateError, which names the metric, for one that fails or returns no value per sample.
    """
    predictions = Predictions(logits, reference)
    prediction = predictions.ranking[:, 0]
    columns = {
        "label": targets.labels[:, 0],
        "prediction": prediction,
        "top5": predictions.ranking[:, :TOP],
        "confidence": predictions.log_probs.gather(1, prediction[:, None])[:, 0].exp(),
    }
    for name, metric in chosen.items():
        if isinstance(metric, ImageMetric):
            columns[metric.column] = _values(name, metric, predictions, targets)
    return columns


def figures(columns: Mapping[str, Tensor], chosen: Mapping[str, Metric]) -> dict[str, float]:
    """Return the figures of a run from the columns (N,) of all its rows at once.

    A metric is left out where the rows lack a column of it, as they do where the run began before
    the metric was there. Raises KeeprateError, which names the metric, for one that fails.
    """
    # over all rows at once, so that no figure depends on passes or batches
    measured = {}
    for name, metric in chosen.items():
        if all(column in columns for column in metric.columns):
            try:
                measured[name] = float(metric.combine(columns))
            except Exception as error:
                raise _failed(name, metric, error) from error
    return measured


def _values(name: str, metric: ImageMetric, predictions: Predictions, targets: Targets) -> Tensor:
    try:
        values = metric.per_image(predictions, targets)
    except OutOfMemoryError:
        raise  # fewer samples at a time may fit
    except Exception as error:
        raise _failed(name, metric, error) from error
    shape: Sequence[int] | str = getattr(values, "shape", type(values).__name__)
    if not isinstance(values, Tensor) or values.shape != predictions.logits.shape[:1]:
        raise KeeprateError(
            f"Metric '{name}' must return one value per sample, a tensor of shape "
            f"({len(predictions.logits)},), not {shape}."
        )
    return values if values.dtype == torch.bool else values.double()


def _failed(name: str, metric: Metric, error: Exception) -> KeeprateError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return KeeprateError(
        f"Metric '{name}' fails: {type(error).__name__}: {error} ({last.filename}:{last.lineno})."
    )
