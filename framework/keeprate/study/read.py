"""Read a study file, or a ready study by name, to requests or to a list of its problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.samples import default_workers
from ..errors import KeeprateError
from ..plugins.kinds import SUFFIXES
from ..plugins.parameters import build, parse_spec
from ..plugins.registry import registry
from ..request import LoopOptions, Options, Request
from .checks import check_pairs
from .grid import points_of
from .pairs import NamedData, pairs_of
from .problems import Problems, read_text
from .schema import StudyContent
from .validate import validated


@dataclass(frozen=True)
class Study:
    """A study that can run: a request for each model on each data set, in the file's order."""

    name: str
    description: str
    requests: tuple[Request, ...]
    engine: str | None = None
    loggers: tuple[str, ...] = ()


def read_study(study: str, overrides: Sequence[str] = (), *, ask_hub: bool = False) -> Study:
    """Read the file, or the ready study, that `study` names, and check all of it.

    `overrides` are KEY=VALUE texts, with dotted keys and YAML values. Models are built as shapes
    without weights; nothing is computed. With `ask_hub`, weights must be on this machine or on the
    hub. Raises StudyProblems that lists all problems, each with line, key and remedy, and
    KeeprateError for a study that does not exist.
    """
    path, display_name = _find_study(study)
    ledger = Problems.of(display_name, read_text(path), overrides)
    content = validated(ledger)
    pairs = pairs_of(content, points_of(content, ledger), ledger)
    check_pairs(content, pairs, ledger, ask_hub=ask_hub)
    # built only to check it: the engine that runs is built from its name again
    if content.engine is not None:
        with ledger.at(("engine",)):
            name, values = parse_spec(content.engine)
            build("engine", registry().engine(name), values)
    if ledger.problems:
        raise ledger.error()
    requests = tuple(
        Request(
            model=pair.model.spec,
            data=pair.data.spec,
            runs=tuple(point.spec for point in pair.points),
            options=_options(content, pair.data),
            # "all methods" means all that suit the model; a method that is named must suit it
            only_fitting=content.methods is None,
        )
        for pair in pairs
        if pair.data is not None
    )
    loggers = tuple(name for name in content.logger if name is not None)
    description = " ".join(content.description.split())
    return Study(content.name or path.stem, description, requests, content.engine, loggers)


def _find_study(study: str) -> tuple[Path, str]:
    """Return the file of a study, and its name for messages."""
    path = Path(study).expanduser()
    # a name with a folder or an ending is a path: ready studies have neither
    if path.suffix in SUFFIXES or path.name != study:
        if not path.is_file():
            raise KeeprateError(
                f"No study file '{study}'. `keeprate list studies` shows ready ones."
            )
        return path, study
    ready = registry().study(study)
    return ready.path, ready.path.name


def _options(content: StudyContent, data: NamedData) -> Options:
    workers = content.workers
    loop = LoopOptions(
        batch_size=content.batch_size,
        workers=default_workers(data.cls) if workers is None else workers,
        precision=content.precision,
        accelerator=content.accelerator,
        devices=content.devices,
        checkpoint_seconds=content.checkpoint_seconds,
        checkpoint_batches=content.checkpoint_batches,
    )
    return Options(
        loop=loop,
        limit=content.limit,
        skip_bad=content.skip_bad,
        empty_last_mlp=content.empty_last_mlp,
        throughput=content.throughput,
        cache_decoded=content.cache_decoded,
        runs_per_pass=content.runs_per_pass,
    )
