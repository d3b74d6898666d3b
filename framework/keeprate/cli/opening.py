"""Draws, when a comparison is finished, the pictures that its report opens with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from traceback import print_exception
from typing import TYPE_CHECKING

from .options import settings
from .printing import echo

if TYPE_CHECKING:
    from ..evaluation.comparison_runner import StudyOutcome
    from ..request import Request


def draw_pictures(requests: Sequence[Request], folder: Path, tally: StudyOutcome) -> bool:
    """Draw the images on which the runs differ most; return whether there are new pictures.

    That is done for a study of one model on one data set. What goes wrong is told in one line and
    fails nothing, as the results are stored already; Ctrl-C leaves the pictures out.
    """
    from ..results.picture_index import FOLDER
    from ..visualization.opening_pictures import draw_opening

    if len(requests) != 1:
        return False
    try:
        drawn = draw_opening(requests[0], folder, tally.finished, tally.reused)
    # methods and data sets are foreign code, which may raise anything
    except (Exception, KeyboardInterrupt) as error:
        if settings().traceback:
            print_exception(error)
        reason = " ".join(str(error).split()) or type(error).__name__
        echo(f"No pictures: {reason}", err=True)
        return False
    if drawn is None:
        return False
    for line in drawn.warnings:
        echo(f"Warning: {line}.", err=True)
    if drawn.group.samples:
        echo(f"Drew {len(drawn.group.samples)} images into {folder / FOLDER}")
    return True
