"""The sample on which budgets are solved that have to be solved on images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from ..backbone import Backbone
from ..backbones.loading.loaded import LoadedModel, classes_of
from ..data.preprocessing import Preprocessed, preparation
from ..dataset import DataSet
from ..errors import KeeprateError
from ..method import Method
from ..plugins.nested_data import data_source, parameters_and_places, paths_of
from ..plugins.parameters import values_of
from ..reduction.calibration import budget_macs
from ..reduction.plan import Plan
from ..request import CalibrationSpec
from ..results.records import CalibrationInfo


@dataclass(frozen=True)
class CalibrationSample:
    """Some samples of a data set, prepared for a model at all sizes that its runs see.

    `is_own` says that the tested data set offered them, `sha256` is a hash of what they are.
    """

    data: DataSet
    prepared: Preprocessed
    is_own: bool
    seed: int
    sha256: str

    def info(self, plan: Plan) -> CalibrationInfo:
        """Describe the calibration of a plan, before it is done."""
        sizes = self.prepared.sizes
        if plan.resized is not None:
            sizes = {plan.backbone.image_size: len(self.prepared.samples)}
        return CalibrationInfo(
            data=self.data.name,
            parameters=values_of(self.data),
            is_own=self.is_own,
            images=len(self.prepared.samples),
            seed=self.seed,
            sha256=self.sha256,
            budget_macs=budget_macs(plan, sizes),
        )


def can_calibrate(given: object, tested: DataSet) -> bool:
    """Tell whether there are images to solve budgets on: given ones, or what the tested offer."""
    return given is not None or tested.calibration() is not None


def calibration_data(given: DataSet | None, tested: DataSet, method: Method) -> DataSet:
    """Return the data set for a calibration: the given one, or what the tested one offers.

    Raises KeeprateError if there is none, or if it is the tested data set itself.
    """
    data = given or tested.calibration()
    if data is None:
        raise KeeprateError(
            f"Method '{method.name}' keeps a different number of tokens in every image, so a "
            f"budget has to be solved on images that are not tested, and '{tested.name}' offers "
            "none: name some with --calibration DATA, or give a schedule in place of the budget."
        )
    if type(data) is type(tested) and _where(data) == _where(tested):
        raise _tested(data, "it is the data set that is tested")
    return data


def draw_sample(
    spec: CalibrationSpec,
    data: DataSet,
    tested: DataSet,
    model: tuple[LoadedModel, Backbone],
    sizes: Collection[tuple[int, int]],
) -> CalibrationSample:
    """Return the samples of `data` whose ids have the smallest hashes with the seed.

    So the choice does not depend on their order, and hardly on how many others there are. Raises
    KeeprateError for samples that are among those `tested`, by the content of their files.
    """
    loaded, backbone = model
    own_size = backbone.image_size
    prepares = preparation(loaded, backbone, data)
    backbone.image_size = own_size  # a limit on the length of texts is that of the tested ones
    data.bind(*classes_of(loaded))
    ids = [sample.id for sample in data.samples()]
    if not ids:
        raise KeeprateError(f"Data set '{data.name}' has no sample to calibrate on.")

    def rank(index: int) -> bytes:
        return hashlib.sha256(f"{spec.seed} {ids[index]}".encode(errors="replace")).digest()

    indices = nsmallest(spec.images, range(len(ids)), key=rank)
    contents = data.contents(indices)
    _refuse_tested(data, tested, indices, contents)
    identity = [data.name, parameters_and_places(data)[0], data_source(data)]
    rows = sorted(zip((ascii(ids[index]) for index in indices), contents, strict=True))
    text = json.dumps([*identity, rows], sort_keys=True)
    return CalibrationSample(
        data,
        prepares.prepare(indices, None, sizes),
        spec.data is None,
        spec.seed,
        hashlib.sha256(text.encode()).hexdigest(),
    )


def _refuse_tested(
    data: DataSet, tested: DataSet, indices: Collection[int], contents: Collection[str]
) -> None:
    """Raise KeeprateError if a sample is one of those tested, under whatever name."""
    in_files = [
        content
        for index, content in zip(indices, contents, strict=True)
        if isinstance(data.content(index), Path)
    ]
    if not in_files:
        return
    places = range(len(tested.samples()))
    files = [index for index in places if isinstance(tested.content(index), Path)]
    if shared := set(in_files) & set(tested.contents(files)):
        raise _tested(data, f"{len(shared)} of {len(in_files)} images drawn from it are tested")


def _tested(data: DataSet, reason: str) -> KeeprateError:
    return KeeprateError(
        f"Budgets cannot be solved on '{data.title}': {reason}. Name other images with "
        "--calibration DATA, as those of the training."
    )


def _where(data: DataSet) -> tuple[object, ...]:
    """Return what two data sets of one class have in common if they are the same."""
    paths = {written: path.resolve() for written, path, _ in paths_of(data)}
    parameters = json.dumps(parameters_and_places(data)[0], sort_keys=True)
    # those that a data set offers for calibration may have the same parameters
    return parameters, paths, data.variant
