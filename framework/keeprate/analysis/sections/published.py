"""Results as papers print them; charts show them beside measured ones (published.json)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..model import PublishedPoint

_Row = (
    tuple[str, float, float, float | None, str] | tuple[str, float, float, float | None, str, str]
)
"""Method, GMACs, top-1 in per cent, images per second, paper, and a ruler if not the table's."""


class _Backbone(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    names: tuple[str, ...]
    unpruned_gmacs: Annotated[float, Field(gt=0)]
    points: tuple[_Row, ...]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ruler: str
    papers: dict[str, str]
    backbones: tuple[_Backbone, ...]


def published(model: str) -> tuple[PublishedPoint, ...]:
    """Return what papers report of the model with this timm name, with or without its tag."""
    table = _table()
    return tuple(
        _point(backbone, row, table)
        for backbone in table.backbones
        if model in backbone.names
        for row in backbone.points
    )


def _point(backbone: _Backbone, row: _Row, table: _Table) -> PublishedPoint:
    method, gmacs, top1_percent, images_per_second, paper = row[:5]
    return PublishedPoint(
        backbone=backbone.backbone,
        method=method,
        macs=gmacs * 1e9,
        share_percent=100 * gmacs / backbone.unpruned_gmacs,
        top1_percent=top1_percent,
        images_per_second=images_per_second,
        read_off=paper == "figure",
        ruler=row[5] if len(row) == 6 else table.ruler,
        source=table.papers[paper],
    )


@cache
def _table() -> _Table:
    text = files(__package__).joinpath("published.json").read_text(encoding="utf-8")
    return _Table.model_validate(json.loads(text))
