"""A cluster of Ray: one started here for a study, or one that is joined."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import ray

from ...errors import KeeprateError

_OBJECTS_BYTES: Final = 200_000_000
"""Memory for what is on its way between processes of a local cluster: rows and logits."""

_ANSWER_SECONDS: Final = 10.0
_ROUNDING: Final = 1e-9


def connect(address: str | None, cpus: int | None) -> bool:
    """Join the cluster at `address`, or start one here with so many processors (None: all).

    Returns whether there is a connection to close: False where this process had one, which is used
    as it is. Raises KeeprateError for a cluster that cannot be started or reached.
    """
    if ray.is_initialized():
        return False
    if address is not None:
        _refuse_silent(address)
    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": _OBJECTS_BYTES,
        }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with _own_signals():
            ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
        said = " ".join(str(error).split())
        where = "Cannot start Ray here" if address is None else f"No Ray cluster at '{address}'"
        raise KeeprateError(f"{where}: {said}") from error
    return True


def _refuse_silent(address: str) -> None:
    """Raise KeeprateError where nobody answers at "host:port": Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise KeeprateError(f"No Ray cluster at '{address}': {error}") from error


def disconnect() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def room(cpus: float, gpus: float) -> int:
    """Return how many tasks with these shares the machines of the cluster take at a time."""
    shares = {"CPU": cpus, "GPU": gpus}
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return sum(_room(node["Resources"], shares) for node in nodes if node["Alive"])


def has_gpus() -> bool:
    """Tell whether a machine of the cluster has a GPU."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("GPU", 0) > 0


def _room(resources: dict[str, float], shares: dict[str, float]) -> int:
    times = [resources.get(name, 0) / share for name, share in shares.items() if share]
    return int(min(times) + _ROUNDING)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of SIGINT and SIGTERM, of which Ray takes the second one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
