"""What the HTML report shows of the samples that methods disagree on: rows, and their pictures."""

from __future__ import annotations

import base64
from pathlib import Path

from keeprate.analysis.disagreement import DisagreedSample, Disagreement, PredictedClass
from keeprate_reports.html_packing import packed

_MOST_BYTES = 12_000_000
"""Pictures of a group that are put into the page; of others the table alone tells."""


def disagreement_part(found: Disagreement | None, samples: str) -> dict[str, object] | None:
    """Everything that the page's script reads of a group's disagreement; texts, none of it HTML.

    `samples` are "images" or "texts". A picture that cannot be read is left out.
    """
    if found is None:
        return None
    pictures, missing = _pictures(found)
    return {
        "runs": found.run_ids,
        "labels": found.labels,
        "text": found.text,
        "samples": samples,
        "images": found.images,
        "differing": found.differing,
        "rows": packed([_row(each) for each in found.samples]),
        "pictures": pictures,
        "missing": missing,
        "command": found.command,
    }


def _row(sample: DisagreedSample) -> dict[str, object]:
    return {
        "sample": sample.sample,
        "label": _class(sample.label, sample.label_name),
        "unpruned": _cell(sample.unpruned) if sample.unpruned else None,
        "guesses": [_cell(guess) for guess in sample.guesses],
        "different": sample.different_percent,
        "spread": sample.kl_spread_nats,
    }


def _cell(guess: PredictedClass) -> list[object]:
    return [_class(guess.prediction, guess.name), guess.right]


def _class(number: int, name: str) -> str:
    return f"{name} ({number})" if name else str(number)


def _pictures(found: Disagreement) -> tuple[list[dict[str, object]], int]:
    """The pictures that can be read and for which there is room, and how many are left out."""
    pictures: list[dict[str, object]] = []
    left, missing = _MOST_BYTES, 0
    for sample in (each for each in found.samples if each.picture):
        try:
            content = Path(sample.picture).read_bytes()
        except OSError:
            content = b""
        if not content or len(content) > left:
            missing += 1
            continue
        left -= len(content)
        pictures.append(_picture(sample, found.labels, content))
    return pictures, missing


def _picture(sample: DisagreedSample, labels: tuple[str, ...], content: bytes) -> dict[str, object]:
    label = _class(sample.label, sample.label_name)
    said = [
        f"{name}: {_class(guess.prediction, guess.name)}"
        for name, guess in zip(labels, sample.guesses, strict=True)
    ]
    return {
        "title": f"Labelled {label}: {sample.sample}",
        "alt": f"Which patches of {sample.sample} survive, run by run, and what is predicted: "
        + "; ".join(said),
        "otherwise": _otherwise(sample, labels),
        "source": base64.b64encode(content).decode("ascii"),
    }


def _otherwise(sample: DisagreedSample, labels: tuple[str, ...]) -> list[str]:
    """A line for each run that predicts something else in the picture than in its rows."""
    names = [("unpruned", sample.unpruned), *zip(labels, sample.guesses, strict=True)]
    return [
        f"In the picture {name} predicts {guess.pictured}, in its rows "
        f"{_class(guess.prediction, guess.name)}."
        for name, guess in names
        if guess is not None and guess.pictured
    ]
