"""The samples that methods disagree on, as rows and pictures of the HTML report."""

from __future__ import annotations

import base64
from pathlib import Path

from keeprate.analysis.disagreement import DisagreedSample, Disagreement, PredictedClass
from keeprate_reports.html_packing import packed

_MOST_BYTES = 12_000_000
"""Most bytes of a group's pictures in the page, which a browser reads as a whole."""


def disagreement_part(found: Disagreement | None, samples: str) -> dict[str, object] | None:
    """Return the disagreement of a group as the page's script reads it: texts, none of it HTML.

    `samples` are "images" or "texts". A picture that cannot be read is left out and counted.
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
        "rows": packed([_row(sample) for sample in found.samples]),
        "pictures": pictures,
        "missing": missing,
        "command": found.command,
    }


def _row(sample: DisagreedSample) -> dict[str, object]:
    return {
        "sample": sample.sample,
        "label": sample.label_text,
        "unpruned": _cell(sample.unpruned) if sample.unpruned else None,
        "guesses": [_cell(guess) for guess in sample.guesses],
        "different": sample.different_percent,
        "spread": sample.kl_spread_nats,
    }


def _cell(guess: PredictedClass) -> list[object]:
    return [guess.text, guess.right]


def _pictures(disagreement: Disagreement) -> tuple[list[dict[str, object]], int]:
    """Return the pictures that can be read and have room, and how many are left out."""
    pictures: list[dict[str, object]] = []
    bytes_left, missing = _MOST_BYTES, 0
    for sample in (sample for sample in disagreement.samples if sample.picture):
        try:
            content = Path(sample.picture).read_bytes()
        except OSError:  # a deleted picture must not cost the page
            content = b""
        if not content or len(content) > bytes_left:
            missing += 1
            continue
        bytes_left -= len(content)
        pictures.append(_picture(sample, disagreement.labels, content))
    return pictures, missing


def _picture(sample: DisagreedSample, labels: tuple[str, ...], content: bytes) -> dict[str, object]:
    label = sample.label_text
    predictions = [
        f"{name}: {guess.text}" for name, guess in zip(labels, sample.guesses, strict=True)
    ]
    return {
        "title": f"Labelled {label}: {sample.sample}",
        "alt": f"Which patches of {sample.sample} survive, run by run, and what is predicted: "
        + "; ".join(predictions),
        "otherwise": _otherwise(sample, labels),
        "source": base64.b64encode(content).decode("ascii"),
    }


def _otherwise(sample: DisagreedSample, labels: tuple[str, ...]) -> list[str]:
    """Return a line for each run that predicts another class in the picture than in its rows."""
    names = [("unpruned", sample.unpruned), *zip(labels, sample.guesses, strict=True)]
    return [
        f"In the picture {name} predicts {guess.pictured}, in its rows {guess.text}."
        for name, guess in names
        if guess is not None and guess.pictured
    ]
