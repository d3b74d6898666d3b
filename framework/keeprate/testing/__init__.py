"""The conformance battery: what keeprate promises of every method, tried on a method of yours.

`check("name")` runs it and returns a `Verdict`; a test class derived from `MethodConformance` makes
a test of every promise; `keeprate check` and the pytest plugin run the same. docs/conformance.md
explains each promise and how to read a failure.

Names are looked up when first used, so that importing this package needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .battery import CHECKS
    from .cases import Case, tiny_vit
    from .checking import check
    from .conformance import MethodConformance
    from .outcome import Check, Outcome, Verdict

__all__ = [
    "CHECKS",
    "Case",
    "Check",
    "MethodConformance",
    "Outcome",
    "Verdict",
    "check",
    "tiny_vit",
]

_HOME = {
    "CHECKS": "battery",
    "Case": "cases",
    "Check": "outcome",
    "MethodConformance": "conformance",
    "Outcome": "outcome",
    "Verdict": "outcome",
    "check": "checking",
    "tiny_vit": "cases",
}


def __getattr__(name: str) -> object:
    """Import the module that defines a public name, the first time the name is used."""
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
