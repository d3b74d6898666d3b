"""Lightning's loggers by name: each run of a study is logged as one run of the logger."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lightning.pytorch import loggers
from lightning.pytorch.loggers import Logger

from ..errors import KeeprateError, unknown_name
from ..results.measured import Measured
from ..results.records import RunInfo
from .events import Event, Listener, RunFailed, RunFinished

_PROJECT: Final = "keeprate"


@dataclass(frozen=True)
class LoggedRun:
    """One run as it is logged: `values` describe the run, `metrics` are its results."""

    id: str
    label: str
    values: Mapping[str, Any]
    metrics: Mapping[str, float]
    failed: bool


@dataclass(frozen=True)
class LoggerKind:
    """A logger of Lightning: `log` writes one run into a folder.

    One of `packages` must be installed; `install` names what to install if none is.
    """

    log: Callable[[Path, LoggedRun], None]
    packages: tuple[str, ...] = ()
    install: str = ""


def lightning_listener(name: str, folder: Path) -> Listener:
    """Return a listener that logs every run that finishes or fails with a logger of Lightning.

    `name` is "csv", "tensorboard", "mlflow" or "wandb". The logger writes into `folder/name`; "csv"
    and "tensorboard" make a folder there for each run's id, and in it a `version_` for each time
    the run was computed. "mlflow" writes a SQLite file there unless MLFLOW_TRACKING_URI is set
    (MLFLOW_EXPERIMENT_NAME names the experiment). "wandb" uploads, and needs a login, unless
    WANDB_MODE is "offline" (WANDB_PROJECT names the project).

    Raises KeeprateError at once for an unknown name and for a package that is not installed. The
    listener raises KeeprateError when the logger fails.
    """
    kind = KINDS.get(name)
    if kind is None:
        raise unknown_name("logger", name, KINDS)
    if kind.packages and not any(map(_is_installed, kind.packages)):
        raise KeeprateError(f"Logger '{name}' is not installed: pip install {kind.install}.")

    def listen(event: Event) -> None:
        entry = _entry(event)
        if entry is not None:
            with _explained(name, entry.label):
                kind.log(folder / name, entry)

    return listen


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@contextmanager
def _explained(name: str, label: str) -> Iterator[None]:
    """Turn any exception of a logger into a KeeprateError of one line that says what to do."""
    try:
        yield
    except Exception as error:  # each logger has exceptions of its own: network, disk, login
        reason = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise KeeprateError(
            f"Logger '{name}' cannot log '{label}': {reason}. What is finished is stored: mend "
            f"that or leave the logger out, and run the same again."
        ) from error


def _entry(event: Event) -> LoggedRun | None:
    match event:
        case RunFinished(label, result):
            values = _values(result.run, label) | {"status": "finished"}
            return LoggedRun(result.id, label, values, _metrics(result.measured), failed=False)
        case RunFailed(label, failure):
            values = _values(failure.run, label) | {"status": "failed", "error": failure.error}
            return LoggedRun(failure.id, label, values, {"failed": 1.0}, failed=True)
    return None


def _values(run: RunInfo, label: str) -> dict[str, Any]:
    """Return the description of a run under flat names ("part/part")."""
    content = run.model_dump(mode="json")
    content["stages"] = ",".join(f"{stage.keep}@{stage.block}" for stage in run.stages)
    # there may be thousands of skipped samples, and loggers show a value in one line
    content["data"]["skipped"] = len(run.data.skipped)
    return {"id": run.id, "label": label, **_flat(content)}


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _metrics(measured: Measured) -> dict[str, float]:
    """Return all metrics by name, `macs` per image, `throughput` (images per second)."""
    metrics = {
        **measured.metrics,
        "macs": measured.macs.total,
        "macs_share": measured.macs.total / measured.macs.unpruned,
        "wall_seconds": measured.wall_seconds,
        "failed": 0.0,
    }
    if measured.throughput is not None:
        metrics["throughput"] = measured.throughput.images_per_second
        metrics["throughput_ratio"] = measured.throughput.ratio
    return metrics


def _log_csv(folder: Path, entry: LoggedRun) -> None:
    _log(loggers.CSVLogger(folder, name=entry.id), entry)


def _log_tensorboard(folder: Path, entry: LoggedRun) -> None:
    """Log a run for TensorBoard."""
    # TensorBoard shows values only beside metrics that were logged in the same call
    logger = loggers.TensorBoardLogger(folder, name=entry.id)
    logger.log_hyperparams(dict(entry.values), dict(entry.metrics))
    logger.finalize(_status(entry))


def _log_mlflow(folder: Path, entry: LoggedRun) -> None:
    """Log a run for MLflow, into a local database unless a server is named."""
    # a database, because MLflow no longer writes plain files
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        folder.mkdir(parents=True, exist_ok=True)
    logger = loggers.MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT),
        run_name=entry.label,
        tracking_uri=uri or f"sqlite:///{folder.resolve() / 'mlflow.db'}",
        artifact_location=None if uri else (folder.resolve() / "artifacts").as_uri(),
    )
    _log(logger, entry)


def _log_wandb(folder: Path, entry: LoggedRun) -> None:
    """Log a run for W&B."""
    # W&B itself makes the folder "wandb" below `save_dir`
    folder.mkdir(parents=True, exist_ok=True)
    project = os.environ.get("WANDB_PROJECT", _PROJECT)
    logger = loggers.WandbLogger(name=entry.label, save_dir=folder.parent, project=project)
    experiment = logger.experiment
    # without `finish`, W&B would write the next run of the study into this one
    try:
        _log(logger, entry)
    finally:
        experiment.finish(exit_code=int(entry.failed))


def _log(logger: Logger, entry: LoggedRun) -> None:
    logger.log_hyperparams(dict(entry.values))
    logger.log_metrics(dict(entry.metrics))
    logger.finalize(_status(entry))


def _status(entry: LoggedRun) -> str:
    return "failed" if entry.failed else "success"


KINDS: Final[Mapping[str, LoggerKind]] = dict(
    csv=LoggerKind(_log_csv),
    tensorboard=LoggerKind(
        _log_tensorboard, ("tensorboard", "tensorboardX"), "tensorboard (or tensorboardX)"
    ),
    mlflow=LoggerKind(_log_mlflow, ("mlflow",), "mlflow"),
    wandb=LoggerKind(_log_wandb, ("wandb",), "wandb"),
)
"""Lightning's loggers by name. A report may have the same name by chance."""
