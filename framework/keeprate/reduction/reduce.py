"""`keeprate.reduce`: from a model and a named method to the reduced model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from ..backbone import Inputs
from ..backbones.loading.load import load_model
from ..backbones.lookup import adapt
from ..errors import KeeprateError
from ..method import Method
from ..plugins.kinds import checked_method_class
from ..plugins.parameters import build
from ..plugins.registry import registry
from .calibration import calibrate
from .named_schedules import preset_of
from .plan import make_plan, uncalibrated
from .proof import require_proof
from .reduced_model import ReducedModel
from .schedule import PREFIX


def reduce(
    model: nn.Module | str,
    method: Method | type[Method] | str,
    schedule: str | Path | None = None,
    *,
    budget: str | float | None = None,
    empty_last_mlp: bool = False,
    trace: bool = False,
    check_values: bool = True,
    calibration: Inputs | Iterable[Inputs] | None = None,
    **parameters: object,
) -> ReducedModel:
    """Return a copy of `model` in which `method` reduces the tokens; `model` is not changed.

    `model` is a module of timm, of transformers or of a plugin's family, or a name (`hf:...` for
    transformers); a name loads the published weights. Change the model before this call: forward
    hooks on the copy or its blocks are refused, and blocks put into it later are not run. `method`
    is a registered name or a class of method with its `parameters`, or a `Method`. `schedule` is a
    spelling of `keeprate.reduction.schedule`, a preset of the method, or the path of a schedule
    that `keeprate search` has found; `budget` (GMACs per image, or "65%") solves its scale so that
    the total cost fits. `empty_last_mlp` drops all patch tokens
    before the last MLP of models whose head reads only the class token; `trace` records where every
    patch goes. For a method that keeps a different number of tokens in every image the budget is
    that of the mean over `calibration`: images (B, C, H, W) that are not tested, or several such
    batches, on the model's device. Other methods, and schedules, leave them alone. With
    `check_values=False` nothing looks at what a method computes (a score that is NaN, a token kept
    twice), which spares a few operations and, on a GPU, one wait after each call.

    Example: `keeprate.reduce(vit, "tome", "r=8", proportional_attention=True)`.
    Raises KeeprateError for unknown names, unsuited models, schedules or budgets, and for a model
    that its backbone does not compute correctly (`keeprate.reduction.proof`).
    """
    if isinstance(model, str):
        model = load_model(model).model
    if isinstance(schedule, Path):
        schedule = f"{PREFIX}{schedule}"
    resolved_method = resolve_method(method, schedule, parameters)
    backbone = adapt(copied(model))
    plan = make_plan(backbone, resolved_method, schedule, budget, empty_last_mlp=empty_last_mlp)
    batches = [calibration] if isinstance(calibration, Tensor | Mapping) else calibration
    if plan.awaits_calibration and batches is None:
        raise uncalibrated(plan, "calibration=IMAGES")
    # after the plan, whose mistakes are found without running the model
    require_proof(plan.backbone)
    reduced = ReducedModel(plan.backbone, plan, trace=trace, check_values=check_values)
    if plan.awaits_calibration and batches is not None:
        calibrate(reduced, [(batch, None) for batch in batches])
    return reduced


def resolve_method_class(method: object) -> type[Method]:
    """Return the class of method registered under a name, or the class itself.

    Raises KeeprateError for an unknown name, for a class that no plugin could offer, and for
    anything that is not a method, for example an undecorated function.
    """
    if isinstance(method, str):
        return registry().method(method)
    if isinstance(method, type) and issubclass(method, Method):
        return checked_method_class(method)
    remedy = "decorate it with @keeprate.as_method" if callable(method) else "give one of these"
    raise KeeprateError(
        f"A method is a name, a class derived from keeprate.Method or an instance of one, not "
        f"{method!r}: {remedy}."
    )


def resolve_method(
    method: Method | type[Method] | str, schedule: str | None, parameters: Mapping[str, object]
) -> Method:
    """Return the method with its parameters, and those of the preset that `schedule` names.

    Raises KeeprateError for unknown names, for parameters that do not fit, and for parameters given
    together with a `Method`, which has its own.
    """
    if isinstance(method, Method):
        preset = preset_of(type(method), schedule)
        if parameters or (preset is not None and preset.parameters):
            raise KeeprateError(
                "Parameters, and presets that set some, go with a method's name, not a Method."
            )
        return method
    cls = resolve_method_class(method)
    preset = preset_of(cls, schedule)
    # explicit parameters win over those of the preset
    values = parameters if preset is None else {**preset.parameters, **parameters}
    return build("method", cls, values)


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of a model; raise KeeprateError, with the remedy, if it has none."""
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        raise KeeprateError(
            f"The model cannot be copied: {error} (weights computed by a hook, as by weight_norm "
            "or pruning, must be made permanent first)"
        ) from error
