"""Build the method of a run, and the one rule of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..method import Method
from ..plugins.parameters import build, parameters_of
from ..plugins.registry import registry
from ..reduction.named_schedules import preset_of
from ..request import RunSpec

SEED: Final = "seed"
"""Name of the parameter by which a method takes a seed."""


def build_method(spec: RunSpec, seed: int) -> Method:
    """Return the method that `spec` names; `seed` is for a method whose seed it does not name.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    if isinstance(spec.given, Method):
        # imported here, as it imports torch: names that are wrong are told before that
        from ..reduction.reduce import resolve_method

        return resolve_method(spec.given, spec.cost.schedule, {})
    cls = spec.given or registry().method(spec.method)
    preset = preset_of(cls, spec.cost.schedule)
    preset_values: Mapping[str, object] = {} if preset is None else preset.parameters
    # the later ones win: the seed of the loop, values of the run, parameters of the preset
    seed_values = {SEED: seed} if lacks_seed(cls, spec.values) else {}
    return build("method", cls, {**seed_values, **spec.values, **preset_values})


def lacks_seed(cls: type, values: Mapping[str, object]) -> bool:
    """Tell whether a class has a parameter `seed` to which the values give nothing.

    The one rule of seeds: such a method runs with every seed that is asked for. The key "" stands
    for the first parameter.
    """
    names = [parameter.name for parameter in parameters_of(cls)]
    return SEED in names and SEED not in {key or names[0] for key in values}
