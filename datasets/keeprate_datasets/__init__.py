"""The built-in data sets, offered like anyone else's; one data set per module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keeprate.hookspecs import hookimpl

if TYPE_CHECKING:
    from keeprate.dataset import DataSet


@hookimpl
def keeprate_datasets() -> list[type[DataSet]]:
    from .cluttered_digits import ClutteredDigits
    from .corrupted import Corrupted
    from .digits import Digits
    from .image_folder import ImageFolder
    from .imagenet import ImageNet
    from .text_file import TextFile

    return [ClutteredDigits, Digits, ImageNet, ImageFolder, TextFile, Corrupted]
