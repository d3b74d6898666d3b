"""Check the runs of a study on shapes alone: models have no weights, nothing is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..backbone import Backbone
from ..backbones.loading.load import check_name, check_published, outline
from ..backbones.loading.loaded import LoadedModel, classes_of, shipped
from ..backbones.lookup import adapt
from ..data.preprocessing import preparation
from ..dataset import DataSet
from ..errors import KeeprateError
from ..plugins.nested_data import owner_name
from ..plugins.registry import registry
from ..reduction.plan import Plan, make_plan
from ..reduction.suitability import refuse_unsuited
from .calibration import calibration_data, can_calibrate
from .grid import GridRun
from .pairs import NamedData, NamedModel, Pair
from .problems import Problems
from .schema import StudySpec
from .yaml_lines import KeyPath


def check_pairs(
    content: StudySpec,
    pairs: Sequence[Pair],
    calibration: NamedData | None,
    ledger: Problems,
    *,
    ask_hub: bool,
) -> None:
    """Note every run that its model, its data set, its cost or its calibration makes impossible.

    With `ask_hub`, note also weights that the hub does not have.
    """
    several = len({pair.model.path for pair in pairs}) > 1
    calibrating = None if calibration is None else calibration.make()
    checking = _Checking(content, ledger, several, ask_hub, calibrating)
    for pair in pairs:
        checking.pair(pair)


@dataclass
class _Checking:
    content: StudySpec
    ledger: Problems
    has_several_models: bool
    ask_hub: bool
    calibration: DataSet | None
    _outlines: dict[KeyPath, LoadedModel | None] = field(default_factory=dict)
    _plans: dict[object, Plan | None] = field(default_factory=dict)

    def pair(self, pair: Pair) -> None:
        """Check a model on a data set, then its runs."""
        data = None if pair.data is None else pair.data.make()
        loaded = self._load(pair.model, data)
        if loaded is None:
            return
        with self.ledger.at(pair.model.path):
            backbone = adapt(loaded.model)
            if data is not None and pair.data is not None:
                preparation(loaded, backbone, data)
                classes = classes_of(loaded)
                with self.ledger.at(pair.data.path):
                    data.bind(*classes)
            self._check_plans(pair, loaded.name, backbone, data)

    def _load(self, model: NamedModel, data: DataSet | None) -> LoadedModel | None:
        """Return the model without weights, or the data set's classifier if none is named."""
        if model.spec.built is not None:
            return model.spec.built
        if model.spec.name is not None:
            # kept for all data sets, a failure as None, too: it is reported once
            if model.path not in self._outlines:
                outlined = _outline(model, self.ledger, ask_hub=self.ask_hub)
                self._outlines[model.path] = outlined
            return self._outlines[model.path]
        if data is None:
            return None
        classifier = data.classifier()
        if classifier is None:
            self.ledger.add(
                model.path, f"Data set '{data.name}' ships no classifier: name a model."
            )
            return None
        return shipped(classifier, owner_name(data))

    def _check_plans(self, pair: Pair, name: str, backbone: Backbone, data: DataSet | None) -> None:
        """Make the plan of every run; this solves its budget and notes what is impossible."""
        empty_last_mlp = self.content.empty_last_mlp and self._can_empty(backbone)
        for point in pair.points:
            # another data set at the same image size has the same plans
            run = (name, backbone.image_size, point.key)
            if run not in self._plans:
                self._plans[run] = self._plan(point, name, backbone, empty_last_mlp=empty_last_mlp)
            plan = self._plans[run]
            if plan is not None and plan.awaits_calibration and data is not None:
                self._check_calibration(point, plan, data)

    def _plan(
        self, point: GridRun, name: str, backbone: Backbone, *, empty_last_mlp: bool
    ) -> Plan | None:
        """Return the plan of a run; note the problem and return None if there can be none."""
        try:
            refuse_unsuited(backbone, point.method)
        except KeeprateError as error:
            # who names no methods asks for those that suit the model
            if self.content.methods is not None:
                self.ledger.add(point.entry, self._message(name, error))
            return None
        cost = point.spec.cost
        try:
            return make_plan(
                backbone,
                point.method,
                cost.schedule,
                cost.budget,
                empty_last_mlp=empty_last_mlp,
            )
        except KeeprateError as error:
            is_schedule = cost.budget is None or str(error).startswith("Schedule")
            path = point.schedule if is_schedule else point.budget
            self.ledger.add(path, self._message(name, error))
            return None

    def _check_calibration(self, point: GridRun, plan: Plan, data: DataSet) -> None:
        # who names no methods asks for those that can be run
        if self.content.methods is None and not can_calibrate(self.calibration, data):
            return
        with self.ledger.at(("calibration",) if self.calibration else point.budget):
            calibration_data(self.calibration, data, plan.method)

    def _can_empty(self, backbone: Backbone) -> bool:
        offers = registry().methods.values()
        unpruned = [offer.cls for offer in offers if not offer.cls.reduces]
        # tried once on the plain model: else every run would report the same problem
        with self.ledger.at(("empty_last_mlp",)):
            for cls in unpruned[:1]:
                make_plan(backbone, cls(), None, None, empty_last_mlp=True)
            return True
        return False

    def _message(self, name: str, error: KeeprateError) -> str:
        return f"{name}: {error}" if self.has_several_models else str(error)


def _outline(model: NamedModel, ledger: Problems, *, ask_hub: bool) -> LoadedModel | None:
    """Return the model without weights; note the problem and return None if there is one."""
    spec, path = model.spec, model.path
    assert spec.name is not None
    with ledger.at((*path, "name")):
        check_name(spec.name)
        try:
            outlined = outline(spec.name, weights=spec.weights, image_size=spec.image_size)
            if ask_hub and spec.weights is None:
                check_published(spec.name, outlined.model)
            return replace(outlined, changes=spec.changes)
        except KeeprateError as error:
            ledger.add((*path, _blamed_key(model, str(error))), str(error))
    return None


def _blamed_key(model: NamedModel, message: str) -> str:
    """Return the key of a model's entry that an error is about."""
    if model.spec.image_size is not None and "mage size" in message:
        return "image_size"
    return "name" if model.spec.weights is None else "weights"
