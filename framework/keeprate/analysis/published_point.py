"""A result as a paper prints it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedPoint:
    """A result as a paper prints it; it is never mixed with measured results.

    `training` says what was trained after the reduction was put in: off-the-shelf (nothing),
    searched (a schedule or hyperparameters, on data), module-trained (something beside the model)
    or fine-tuned; results of different trainings are not one series. `macs` are what the paper
    calls FLOPs; `ruler` says what the paper counts. `own_macs` are keeprate's count of the model
    with the same schedule, without the method's own cost, None where that is not known.
    `share_percent` is the share of the unpruned model, counted in the same way; None where no cost
    is known. `read_off` is true for points that were read off a figure.
    """

    backbone: str
    method: str
    setting: str
    training: str
    macs: float | None
    own_macs: int | None
    share_percent: float | None
    top1_percent: float
    images_per_second: float | None
    read_off: bool
    ruler: str
    source: str
    note: str
