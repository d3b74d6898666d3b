"""Results as papers print them; reports show them beside measured ones (published_points.csv)."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..model import PublishedPoint

_Number = Annotated[float | None, Field(gt=0), BeforeValidator(lambda text: text or None)]
_Count = Annotated[int | None, Field(gt=0), BeforeValidator(lambda text: text or None)]

NOT_PRINTED = "not printed: keeprate's count of the model"
"""The ruler of points whose source prints no cost while their schedule is known."""


class PublishedModel(BaseModel):
    """A backbone of `published_models.csv`.

    `structure` at `image_size` pixels is timm's model of the same cost, `unpruned_macs` is what
    keeprate counts of it. `names` are the timm names, separated by spaces, whose weights it has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    structure: str
    image_size: int
    unpruned_macs: int
    names: str


class PublishedRow(BaseModel):
    """A row of `published_points.csv`; what its source does not say is "" or None.

    `gmacs` is the printed cost, on the `ruler` of the source, `unpruned_gmacs` that of its unpruned
    model. `macs` is keeprate's count of the model without the method's own cost, for a method and
    a schedule of keeprate's, `counted_as`, that leave as many tokens at the same places;
    `not_counted` says why there is none. `top1` is None where the source gives no figure.
    `checked` says how the row was had: read, second-hand, from our notes or from the abstract.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str
    method: str
    setting: str
    training: Literal["off-the-shelf", "searched", "module-trained", "fine-tuned"]
    top1: _Number
    unpruned_top1: _Number
    gmacs: _Number
    unpruned_gmacs: _Number
    ruler: str
    read_off: Literal["", "yes"]
    images_per_second: _Number
    counted_as: str
    macs: _Count
    not_counted: str
    source: Annotated[str, Field(min_length=1)]
    checked: Annotated[str, Field(min_length=1)]
    note: str


def published(model: str) -> tuple[PublishedPoint, ...]:
    """Return what papers report of the model with this timm name, with or without its tag."""
    return tuple(
        _point(row, row.top1, backbone)
        for backbone in published_models()
        if model in backbone.names.split()
        for row in published_rows()
        if row.backbone == backbone.backbone and row.top1 is not None
    )


def _point(row: PublishedRow, top1_percent: float, backbone: PublishedModel) -> PublishedPoint:
    return PublishedPoint(
        backbone=row.backbone,
        method=row.method,
        setting=row.setting,
        training=row.training,
        macs=row.gmacs and row.gmacs * 1e9,
        own_macs=row.macs,
        share_percent=_share_percent(row, backbone.unpruned_macs),
        top1_percent=top1_percent,
        images_per_second=row.images_per_second,
        read_off=row.read_off == "yes",
        ruler=NOT_PRINTED if row.gmacs is None and row.macs else row.ruler,
        source=f"{row.source} ({row.checked})",
        note=row.note,
    )


def _share_percent(row: PublishedRow, unpruned_macs: int) -> float | None:
    """Return the cost as a share of the unpruned model's, both on the source's ruler if it has one.

    A source that does not print the cost of its unpruned model is taken to count that as keeprate
    does; one that prints no cost at all has keeprate's count.
    """
    if row.gmacs is not None:
        return 100 * row.gmacs / (row.unpruned_gmacs or unpruned_macs / 1e9)
    return None if row.macs is None else 100 * row.macs / unpruned_macs


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """Return all rows, also those of models that timm has no weights of."""
    return tuple(PublishedRow.model_validate(row) for row in _read("published_points.csv"))


@cache
def published_models() -> tuple[PublishedModel, ...]:
    """Return the backbones whose cost keeprate can count."""
    return tuple(PublishedModel.model_validate(row) for row in _read("published_models.csv"))


def _read(name: str) -> list[dict[str, str]]:
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
