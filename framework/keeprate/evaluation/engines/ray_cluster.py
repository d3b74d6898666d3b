"""A Ray cluster: one that is started here for a study, or an existing one that is joined."""

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
"""Memory for rows and logits between the processes of a local cluster (Ray takes 30 % of all)."""

_ANSWER_SECONDS: Final = 10.0
_ROUNDING: Final = 1e-9
"""Added before rounding down: 0.3 processors in shares of 0.1 are a little less than 3."""


def connect(address: str | None, cpus: int | None) -> bool:
    """Join the cluster at `address`, or start one here with `cpus` processors (None: all).

    Returns True if the caller must close the connection, False if this process already had one,
    which is then used. Raises KeeprateError for a cluster that cannot be started or reached.
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
    # without this, Ray sends usage reports over the network
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with _own_signals():
            ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
    except (OSError, RuntimeError, ValueError, ImportError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())
        problem = "Cannot start Ray here" if address is None else f"No Ray cluster at '{address}'"
        raise KeeprateError(f"{problem}: {reason}") from error
    return True


def _refuse_silent(address: str) -> None:
    """Raise KeeprateError if nothing answers at "host:port": Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise KeeprateError(f"No Ray cluster at '{address}': {error}") from error


def disconnect() -> None:
    """Leave the cluster; a cluster that was started here ends."""
    ray.shutdown()


def room(cpus: float, gpus: float) -> int:
    """Return how many tasks with these shares the machines of the cluster take at a time."""
    # counted by machine: a task does not run on two machines with half of its share each
    shares = {"CPU": cpus, "GPU": gpus}
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return sum(_room(node["Resources"], shares) for node in nodes if node["Alive"])


def has_gpus() -> bool:
    """Tell whether a machine of the cluster has a GPU."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources.get("GPU", 0) > 0


def _room(resources: dict[str, float], shares: dict[str, float]) -> int:
    counts = [resources.get(name, 0) / share for name, share in shares.items() if share]
    return int(min(counts) + _ROUNDING)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of SIGINT and SIGTERM: Ray replaces that of SIGTERM."""
    # Python lets only the main thread set handlers
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
