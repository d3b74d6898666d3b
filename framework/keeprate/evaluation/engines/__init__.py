"""The engines that come with keeprate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...hookspecs import hookimpl

if TYPE_CHECKING:
    from ...engine import Engine


@hookimpl
def keeprate_engines() -> list[type[Engine]]:
    """Return the engines; they are imported here so that start-up stays quick."""
    from .ray_engine import RayEngine
    from .sequential import Sequential

    return [Sequential, RayEngine]
