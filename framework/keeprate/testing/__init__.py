"""The conformance battery: it tries what keeprate promises of every method on one of yours.

`check("name")` runs it and returns a `Verdict`. A test class derived from `MethodConformance` has a
test for every promise. `keeprate check` and the pytest plugin run the same checks.
docs/conformance.md explains each promise and how to read a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .cases import Case, tiny_vit
    from .checking import check
    from .conformance import MethodConformance
    from .outcome import Check, Outcome, Verdict
    from .runner import CHECKS

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
    "CHECKS": "runner",
    "Case": "cases",
    "Check": "outcome",
    "MethodConformance": "conformance",
    "Outcome": "outcome",
    "Verdict": "outcome",
    "check": "checking",
    "tiny_vit": "cases",
}


# names are imported when they are first used: importing this package must not import torch
__getattr__, __dir__ = lazy_names(__name__, _HOME)
