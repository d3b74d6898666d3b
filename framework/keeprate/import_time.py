"""How long a plugin takes to import, in a process of its own where nothing else can be blamed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from .discovery import Source

TIMEOUT_SECONDS = 120
"""A plugin that has not been imported after so long is given up."""

HEAVY = ("altair", "lightning", "numpy", "polars", "scipy", "timm", "torch", "transformers")
"""Libraries that are worth naming where a plugin imports them."""

_CODE = """
import json, sys
asked = json.loads(sys.argv[1])
sys.path[:] = asked["path"]
from keeprate.import_time import import_here
told = import_here(asked["target"])
sys.stderr.flush()
print("\\n" + json.dumps(told), flush=True)
"""


@dataclass(frozen=True)
class Imported:
    """What importing a plugin took: seconds, the heavy libraries it brought, how it ended if not.

    `ended` is None where the import came back, with or without an error.
    """

    seconds: float
    heavy: tuple[str, ...] = ()
    ended: str | None = None


def import_times(sources: Iterable[Source]) -> dict[Source, Imported]:
    """Import every plugin that is not keeprate's own, one after another, each in a new process."""
    return {each: _import_time(each) for each in sources if each.target and not each.is_builtin}


def import_here(target: str) -> dict[str, object]:
    """Import a plugin file or a module in this process and say what that took."""
    import time
    from importlib import import_module
    from pathlib import Path

    from .discovery import imported

    start = time.perf_counter()
    with suppress(Exception, SystemExit):  # told by whoever loads the plugin
        imported(Path(target)) if target.endswith(".py") else import_module(target)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "heavy": [name for name in HEAVY if name in sys.modules]}


def _import_time(source: Source) -> Imported:
    asked = json.dumps({"path": sys.path, "target": source.target})
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, asked],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Imported(TIMEOUT_SECONDS, ended=f"not done after {TIMEOUT_SECONDS} s")
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        return Imported(said["seconds"], tuple(said["heavy"]))
    except (IndexError, ValueError, TypeError, KeyError):
        return Imported(0.0, ended=_status(done.returncode))


def _status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
