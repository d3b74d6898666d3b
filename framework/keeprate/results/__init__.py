"""What is stored of a run: records, rows and the folder that holds them; knows nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_names

if TYPE_CHECKING:
    from .measured import Macs, Measured, Throughput
    from .records import BackboneInfo, DataInfo, Environment, Failure, Result, RunInfo, StageInfo
    from .row_schemas import ROW_SCHEMA
    from .store import Store

__all__ = [
    "ROW_SCHEMA",
    "BackboneInfo",
    "DataInfo",
    "Environment",
    "Failure",
    "Macs",
    "Measured",
    "Result",
    "RunInfo",
    "StageInfo",
    "Store",
    "Throughput",
]

_ELSEWHERE = {"ROW_SCHEMA": "row_schemas", "Store": "store"}
__getattr__, __dir__ = lazy_names(
    __name__, {name: _ELSEWHERE.get(name, "records") for name in __all__}
)
