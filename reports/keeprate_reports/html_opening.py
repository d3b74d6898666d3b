"""The pictures that the HTML report opens with: images on which the methods of a group differ."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keeprate.analysis.disagreement import (
    DisagreedSample,
    Disagreement,
    EndPicture,
    PredictedClass,
)
from keeprate.analysis.model import Findings


@dataclass(frozen=True)
class OpeningCell:
    """A picture, as a data URL, of what one run leaves of an image, with what it predicts.

    `note` says in words what is left, and where the picture shows another prediction.
    """

    source: str
    prediction: str
    right: bool
    note: str


@dataclass(frozen=True)
class OpeningRow:
    """An image, as a data URL, with its label, and a cell for each run.

    `unpruned` is what the unpruned model predicts, None where that is not known.
    """

    sample: str
    label: str
    source: str
    unpruned: PredictedClass | None
    cells: tuple[OpeningCell, ...]


@dataclass(frozen=True)
class Opening:
    """The rows of the group at `index` that has pictures, one for each image."""

    index: int
    title: str
    found: Disagreement
    rows: tuple[OpeningRow, ...]


def opening_of(findings: Findings) -> Opening | None:
    """Return the pictures of the first group that has some; None where no group has."""
    for index, group in enumerate(findings.groups):
        if group.disagreement is not None and (rows := _rows(group.disagreement.samples)):
            return Opening(index, group.title, group.disagreement, rows)
    return None


def _rows(samples: Sequence[DisagreedSample]) -> tuple[OpeningRow, ...]:
    rows = []
    for sample in samples:
        ends = [guess.end for guess in sample.guesses if guess.end]
        if not sample.input_picture or len(ends) < len(sample.guesses):
            continue
        try:
            rows.append(_row(sample, ends))
        except OSError:  # a deleted picture must not cost the page
            continue
    return tuple(rows)


def _row(sample: DisagreedSample, ends: Sequence[EndPicture]) -> OpeningRow:
    cells = [
        OpeningCell(_data_url(end.picture), guess.text, guess.right, _note(guess, end))
        for guess, end in zip(sample.guesses, ends, strict=True)
    ]
    source = _data_url(sample.input_picture)
    return OpeningRow(sample.sample, sample.label_text, source, sample.unpruned, tuple(cells))


def _note(guess: PredictedClass, end: EndPicture) -> str:
    counts = ((end.dropped, "dropped"), (end.aside, "skip blocks"), (end.merged, "merged"))
    parts = [f"{count} patches {verb}" for count, verb in counts if count]
    text = ", ".join([f"{end.tokens} of {end.patches} tokens left", *parts])
    return f"{text}. In the picture it predicts {guess.pictured}." if guess.pictured else text


def _data_url(path: str) -> str:
    content = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    return f"data:image/{Path(path).suffix[1:]};base64,{content}"
