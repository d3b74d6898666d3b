"""Expand the specification of a study to requests, whichever front end it came from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..plugins.parameters import build, parse_spec
from ..plugins.registry import registry
from ..request import CalibrationSpec, LoopOptions, Options, Request
from .grid import points_of
from .pairs import NamedData, Pair, calibration_of, pairs_of
from .problems import Problems
from .schema import StudySpec
from .validate import validated


@dataclass(frozen=True)
class Study:
    """A study that can run: a request for each model on each data set, in the order of its text.

    `name` is that of the folder of its results.
    """

    spec: StudySpec
    name: str
    requests: tuple[Request, ...]

    @property
    def description(self) -> str:
        """What is asked, on one line."""
        return " ".join(self.spec.description.split())

    @property
    def loggers(self) -> tuple[str, ...]:
        """The names of the loggers."""
        return tuple(name for name in self.spec.logger if name is not None)


def expand(
    ledger: Problems, default_name: str | None = None, *, ask_hub: bool, force: bool = False
) -> Study:
    """Check the whole specification in the ledger's source, and return the runs it stands for.

    A study without a name has the default one, or one made of its model and data set. Models are
    built as shapes without weights; nothing is computed. With `ask_hub`, weights must be on this
    machine or on the hub; with `force`, finished runs are run again. Raises StudyProblems that
    lists all problems, each with its place and a remedy.
    """
    spec = validated(ledger)
    points = points_of(spec, ledger)
    # before data sets are looked up, which import torch
    ledger.raise_early()
    pairs = pairs_of(spec, points, ledger)
    calibration = calibration_of(spec, ledger)
    ledger.raise_early()
    # imported here, as it imports timm
    from .checks import check_pairs

    check_pairs(spec, pairs, calibration, ledger, ask_hub=ask_hub)
    # built only to check it: the engine that runs is built from its name again
    if spec.engine is not None:
        with ledger.at(("engine",)):
            name, values = parse_spec(spec.engine)
            build("engine", registry().engine(name), values)
    if ledger.problems:
        raise ledger.error()
    requests = tuple(
        _request(spec, pair, pair.data, _options(spec, pair.data, calibration, force=force))
        for pair in pairs
        if pair.data is not None
    )
    return Study(spec, spec.name or default_name or _name(pairs[0]), requests)


def _request(spec: StudySpec, pair: Pair, data: NamedData, options: Options) -> Request:
    return Request(
        model=pair.model.spec,
        data=data.spec,
        runs=tuple(point.spec for point in pair.points),
        options=options,
        # "all methods" means all that suit the model; a method that is named must suit it
        only_fitting=spec.methods is None,
    )


def _options(
    spec: StudySpec, data: NamedData, calibration: NamedData | None, *, force: bool
) -> Options:
    from ..data.samples import default_workers

    loop = LoopOptions(
        batch_size=spec.batch_size,
        workers=default_workers(data.cls) if spec.workers is None else spec.workers,
        precision=spec.precision,
        accelerator=spec.accelerator,
        devices=spec.devices,
        checkpoint_seconds=spec.checkpoint_seconds,
        checkpoint_batches=spec.checkpoint_batches,
    )
    return Options(
        loop=loop,
        limit=spec.limit,
        part=spec.part,
        skip_bad=spec.skip_bad,
        empty_last_mlp=spec.empty_last_mlp,
        force=force,
        throughput=spec.throughput,
        cache_decoded=spec.cache_decoded,
        runs_per_pass=spec.runs_per_pass,
        calibration=CalibrationSpec(
            data=None if calibration is None else calibration.spec,
            images=spec.calibration_images,
            seed=spec.calibration_seed,
        ),
    )


def _name(pair: Pair) -> str:
    """Return a folder name made of a model and a data set."""
    model = pair.model.spec
    parts = [model.built.name if model.built else model.name, pair.data and pair.data.cls.name]
    # names of models and data sets may have "/" and ":" in them
    return re.sub(r"[^\w.-]+", "-", "-".join(part for part in parts if part))
