"""Every run of a study becomes a run of the logger that was named."""

from __future__ import annotations

import csv
import errno
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from lightning.pytorch import loggers as lightning_loggers

import keeprate.evaluation.loggers
from keeprate.errors import KeeprateError
from keeprate.evaluation.events import Note, PassEnded, RunFailed, RunFinished
from keeprate.evaluation.loggers import KINDS, lightning_listener
from keeprate.results.records import Failure
from paths import DOCS
from results_factory import (
    make_data,
    make_environment,
    make_result,
    make_rows,
    make_run,
    make_throughput,
)

RUN = make_run(keep=40, parameters={"scale": 0.5}, data=make_data(skipped={"a.jpg": "broken"}))
RESULT = make_result(RUN, make_rows(RUN), make_throughput())
FINISHED = RunFinished("tome 65%", RESULT)
FAILED = RunFailed(
    "tome 50%",
    Failure(run=RUN, error="Error: boom", traceback="", environment=make_environment()),
)
METRICS = {
    "top1": RESULT.measured.metrics["top1"],
    "top5": RESULT.measured.metrics["top5"],
    "agreement": RESULT.measured.metrics["agreement"],
    "kl": RESULT.measured.metrics["kl"],
    "macs": RESULT.measured.macs.total,
    "macs_share": RESULT.measured.macs.total / RESULT.measured.macs.unpruned,
    "wall_seconds": 1.5,
    "failed": 0.0,
    "throughput": 1400.0,
    "throughput_ratio": 1.4,
}
VALUES = {
    "id": RUN.id,
    "label": "tome 65%",
    "status": "finished",
    "method": "tome",
    "parameters/scale": 0.5,
    "stages": "40@3",
    "schedule": "40@3",
    "budget": None,
    "seed": 0,
    "backbone/name": "digits_vit",
    "data/images": 200,
    "data/skipped": 1,
    "sources/method": "ab" * 32,
}


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> MagicMock:
    """Put a package of mocks where one is not installed; returns the first of its modules."""
    package = MagicMock()
    for name in names:
        module = package
        for part in name.split(".")[1:]:
            module = getattr(module, part)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    return package


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_csv_holds_values_and_metrics_of_each_run(tmp_path: Path) -> None:
    listen = lightning_listener("csv", tmp_path)
    for event in (Note("nothing to log"), FINISHED, PassEnded()):
        listen(event)
    folder = tmp_path / "csv" / RUN.id / "version_0"
    values = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert VALUES.items() <= values.items()
    (row,) = read_csv(folder / "metrics.csv")
    assert row.pop("step") == "0"
    assert {name: float(value) for name, value in row.items()} == METRICS
    assert [path.name for path in (tmp_path / "csv").iterdir()] == [RUN.id]


def test_csv_marks_a_failed_run_and_keeps_the_earlier_one(tmp_path: Path) -> None:
    for event in (FINISHED, FAILED):
        lightning_listener("csv", tmp_path)(event)
    folder = tmp_path / "csv" / RUN.id / "version_1"
    values = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert (values["status"], values["error"]) == ("failed", "Error: boom")
    assert read_csv(folder / "metrics.csv") == [{"failed": "1.0", "step": "0"}]
    assert (tmp_path / "csv" / RUN.id / "version_0" / "metrics.csv").exists()


def tensorboard_summaries(folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Scalars, and the values of the table HPARAMS, of the one file of events there."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    scalars, values = {}, {}
    (path,) = folder.glob("events.out.tfevents.*")
    data = path.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        for value in event.summary.value:
            content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
            if value.metadata.plugin_data.plugin_name != "hparams":
                scalars[value.tag] = value.simple_value
            elif content.HasField("session_start_info"):
                values = dict(content.session_start_info.hparams)
    return scalars, values


def test_tensorboard_shows_values_beside_metrics(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    lightning_listener("tensorboard", tmp_path)(FINISHED)
    folder = tmp_path / "tensorboard" / RUN.id / "version_0"
    scalars, values = tensorboard_summaries(folder)
    assert scalars == pytest.approx(METRICS)
    assert values["label"].string_value == "tome 65%"
    assert values["parameters/scale"].number_value == 0.5


def test_tensorboard_marks_a_failed_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    lightning_listener("tensorboard", tmp_path)(FAILED)
    scalars, values = tensorboard_summaries(tmp_path / "tensorboard" / RUN.id / "version_0")
    assert scalars == {"failed": 1.0}
    assert values["error"].string_value == "Error: boom"


@pytest.fixture
def mlflow_client(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """The client that Lightning's own MLFlowLogger talks to, made by a mock of mlflow."""
    names = ("mlflow", "mlflow.tracking", "mlflow.tracking.context", "mlflow.entities")
    mlflow = install(monkeypatch, *names, "mlflow.utils", "mlflow.utils.mlflow_tags")
    mlflow.utils.mlflow_tags.MLFLOW_RUN_NAME = "mlflow.runName"
    mlflow.tracking.context.resolve_tags = dict
    monkeypatch.setitem(
        sys.modules, "mlflow.tracking.context.registry", mlflow.tracking.context.registry
    )
    mlflow.tracking.context.registry.resolve_tags = dict
    mlflow.entities.Param = lambda key, value: (key, value)
    mlflow.entities.Metric = lambda key, value, timestamp, step: (key, value)
    monkeypatch.setattr("lightning.pytorch.loggers.mlflow._MLFLOW_AVAILABLE", True)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    client: MagicMock = mlflow.tracking.MlflowClient
    client.return_value.get_experiment_by_name.return_value = None
    return client


def test_mlflow_gets_values_metrics_and_the_end(mlflow_client: MagicMock, tmp_path: Path) -> None:
    lightning_listener("mlflow", tmp_path)(FINISHED)
    mlflow_client.assert_called_once_with(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    client = mlflow_client.return_value
    client.create_experiment.assert_called_once_with(
        name="keeprate", artifact_location=(tmp_path / "mlflow" / "artifacts").as_uri()
    )
    assert client.create_run.call_args.kwargs["tags"] == {"mlflow.runName": "tome 65%"}
    batches = [call.kwargs for call in client.log_batch.call_args_list]
    logged = {key: value for batch in batches for key, value in batch.get("params", ())}
    assert {name: str(value) for name, value in VALUES.items()}.items() <= logged.items()
    assert {key: value for batch in batches for key, value in batch.get("metrics", ())} == METRICS
    assert client.set_terminated.call_args.args[1] == "FINISHED"


def test_mlflow_marks_a_failed_run(mlflow_client: MagicMock, tmp_path: Path) -> None:
    lightning_listener("mlflow", tmp_path)(FAILED)
    assert mlflow_client.return_value.set_terminated.call_args.args[1] == "FAILED"


def test_mlflow_goes_where_the_environment_says(
    mlflow_client: MagicMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tokens")
    lightning_listener("mlflow", tmp_path)(FINISHED)
    mlflow_client.assert_called_once_with("http://localhost:5000")
    mlflow_client.return_value.create_experiment.assert_called_once_with(
        name="tokens", artifact_location=None
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """A mock of wandb below Lightning's own WandbLogger."""
    package = install(monkeypatch, "wandb", "wandb.sdk", "wandb.sdk.lib", "wandb.wandb_run")
    package.run = None
    package.sdk.lib.RunDisabled = package.wandb_run.Run = type("Run", (), {})
    package.init.side_effect = lambda **_: MagicMock()
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", True)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return package


def test_wandb_gets_a_run_of_its_own_for_each(wandb: MagicMock, tmp_path: Path) -> None:
    started: list[MagicMock] = []
    wandb.init.side_effect = lambda **_: started.append(MagicMock()) or started[-1]
    listen = lightning_listener("wandb", tmp_path)
    listen(FINISHED)
    listen(FAILED)
    asked = [call.kwargs for call in wandb.init.call_args_list]
    assert [each["name"] for each in asked] == ["tome 65%", "tome 50%"]
    assert {(each["project"], each["dir"]) for each in asked} == {("keeprate", str(tmp_path))}
    finished, failed = started
    assert VALUES.items() <= finished.config.update.call_args.args[0].items()
    finished.log.assert_called_once_with(METRICS)
    finished.finish.assert_called_once_with(exit_code=0)
    failed.log.assert_called_once_with({"failed": 1.0})
    failed.finish.assert_called_once_with(exit_code=1)


def test_wandb_project_is_that_of_the_environment(
    wandb: MagicMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "tokens")
    lightning_listener("wandb", tmp_path)(FINISHED)
    assert wandb.init.call_args.kwargs["project"] == "tokens"


def test_what_a_logger_raises_is_said_in_one_line(wandb: MagicMock, tmp_path: Path) -> None:
    wandb.init.side_effect = RuntimeError("not logged in.\nRun wandb login.")
    listen = lightning_listener("wandb", tmp_path)
    with pytest.raises(KeeprateError) as raised:
        listen(FINISHED)
    assert str(raised.value) == (
        "Logger 'wandb' cannot log 'tome 65%': RuntimeError: not logged in. Run wandb login. "
        "What is finished is stored: mend that or leave the logger out, and run the same again."
    )


def test_a_full_disk_stops_a_logger_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lightning_loggers.CSVLogger, "log_metrics", full)
    with pytest.raises(KeeprateError, match=r"^Logger 'csv' cannot log .*No space left"):
        lightning_listener("csv", tmp_path)(FINISHED)


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(KeeprateError) as raised:
        lightning_listener("tensorbord", tmp_path)
    assert str(raised.value) == "No logger 'tensorbord'. Did you mean 'tensorboard'?"


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("tensorboard", "tensorboard (or tensorboardX)"),
        ("mlflow", "mlflow"),
        ("wandb", "wandb"),
    ],
)
def test_a_missing_package_is_named_before_anything_runs(
    name: str, install: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeprate.evaluation.loggers, "_is_installed", lambda package: False)
    with pytest.raises(KeeprateError) as raised:
        lightning_listener(name, tmp_path)
    assert str(raised.value) == f"Logger '{name}' is not installed: pip install {install}."
    assert list(tmp_path.iterdir()) == []


def test_every_logger_is_documented() -> None:
    page = (DOCS / "progress.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in KINDS)
