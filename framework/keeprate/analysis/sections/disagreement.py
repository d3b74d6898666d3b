"""Find the samples on which chosen runs disagree most, with the pictures that were drawn."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from ...errors import KeeprateError
from ...request import PREFIX
from ...results.picture_index import (
    Pictured,
    PicturedEnd,
    PicturedGroup,
    PicturedGuess,
    PictureIndex,
    picture_path,
)
from ...results.store import Store
from ..disagreement import DisagreedSample, Disagreement, EndPicture, PredictedClass, class_text
from ..rerun import model_spec_of
from ..run_selection import SelectedRuns, choose
from ..runs import RunGroup
from ..series import SeriesTable
from .commands import plugin_words
from .disagreement_ranking import COLUMNS, DIFFERENT, SPREAD, apart, ranked

_COLUMNS: Final = (*COLUMNS, "label", "correct")
"""`correct` is top-1's, as a sample may have more right classes than its `label`."""
MOST_SAMPLES: Final = 8
"""Least number of samples to list; more are listed where more pictures were drawn."""


def disagreement(
    store: Store, group: RunGroup, arranged: SeriesTable, index: PictureIndex
) -> Disagreement | None:
    """Return what the runs of a group disagree on; None where no two runs have the same cost.

    The runs are those that pictures were drawn of; without pictures they are those of `choose`.
    Only their rows are read. Raises KeeprateError for rows that cannot be read.
    """
    drawn = index.of_group([run.id for run in group.runs])
    selected = choose(arranged) if drawn is None else named_as(drawn, group)
    if selected is None:
        return None
    most = MOST_SAMPLES if drawn is None else max(MOST_SAMPLES, len(drawn.samples))
    unpictured = disputed(store, group, selected, most)
    samples = tuple(
        _with_picture(store.folder, sample, drawn, selected) for sample in unpictured.samples
    )
    return replace(unpictured, samples=samples, command=command(store, group))


def named_as(drawn: PicturedGroup, group: RunGroup) -> SelectedRuns:
    """Return the runs that pictures were drawn of, under the labels in the pictures."""
    by_id = {run.id: run for run in group.runs}
    runs = {label: by_id[run_id] for label, run_id in zip(drawn.labels, drawn.runs, strict=True)}
    return SelectedRuns(drawn.budget, runs, drawn.text)


def disputed(store: Store, group: RunGroup, chosen: SelectedRuns, most: int) -> Disagreement:
    """Return the most disagreed samples, at most `most`, without pictures and names of classes.

    Raises KeeprateError for rows that cannot be read and runs that have no sample in common.
    """
    runs = {run_id: store.rows(run_id, _COLUMNS) for run_id in chosen.ids}
    ranking = ranked(list(runs.values()))
    if not ranking.height:
        raise KeeprateError(f"The runs have no sample in common: {', '.join(runs)}.")
    most_disagreed = apart(ranking).head(most)
    # only few rows are turned into Python objects, as there may be 50,000 of each run
    names = most_disagreed["sample"].to_list()
    unpruned = group.unpruned
    tables = [_by_sample(rows, names) for rows in runs.values()]
    unpruned_rows = _by_sample(store.rows(unpruned.id, _COLUMNS), names) if unpruned else {}
    return Disagreement(
        budget=chosen.budget,
        run_ids=chosen.ids,
        labels=tuple(chosen.runs),
        text=chosen.text,
        images=ranking.height,
        differing=int((ranking[DIFFERENT] > 0).sum()),
        samples=tuple(
            _sample(row, tables, unpruned_rows) for row in most_disagreed.iter_rows(named=True)
        ),
        command="",
    )


def command(store: Store, group: RunGroup) -> str:
    """Return the `keeprate show` command that draws the pictures of a group, "" for texts."""
    run = group.runs[0].run
    if run.backbone.samples == "texts":
        return ""
    plugins = plugin_words(scored_run.run for scored_run in group.runs)
    words = ["keeprate", *plugins, "show", "--disagreeing", str(store.folder)]
    model = model_spec_of(run.backbone)
    if model.weights is not None:
        words += ["--weights", str(model.weights)]
    elif model.name is not None and model.name.startswith(PREFIX):
        words += ["--model", model.name]
    return shlex.join(words)


def _by_sample(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    selected = rows.filter(pl.col("sample").is_in(names))
    return {row["sample"]: row for row in selected.iter_rows(named=True)}


def _sample(
    row: Mapping[str, Any],
    tables: Sequence[Mapping[str, Mapping[str, Any]]],
    unpruned_rows: Mapping[str, Mapping[str, Any]],
) -> DisagreedSample:
    name = row["sample"]
    return DisagreedSample(
        sample=name,
        label=tables[0][name]["label"],
        label_name="",
        unpruned=_predicted_class(unpruned_rows[name]) if name in unpruned_rows else None,
        guesses=tuple(_predicted_class(table[name]) for table in tables),
        different_percent=100 * row[DIFFERENT],
        kl_spread_nats=row[SPREAD],
    )


def _predicted_class(row: Mapping[str, Any]) -> PredictedClass:
    return PredictedClass(row["prediction"], "", row["correct"])


def _with_picture(
    folder: Path, sample: DisagreedSample, drawn: PicturedGroup | None, chosen: SelectedRuns
) -> DisagreedSample:
    """Return the sample with the names of its classes and its pictures, where they are known."""
    if drawn is None:
        return sample
    names = drawn.class_names()
    sample = replace(
        sample,
        label_name=names.get(sample.label, ""),
        unpruned=_with_class_name(sample.unpruned, names) if sample.unpruned else None,
        guesses=tuple(_with_class_name(guess, names) for guess in sample.guesses),
    )
    picture = _picture_of(sample.sample, drawn, folder)
    if picture is None:
        return sample
    shown = {guess.run: guess for guess in picture.predictions}
    return replace(
        sample,
        unpruned=_as_pictured(folder, sample.unpruned, picture.unpruned)
        if sample.unpruned
        else None,
        guesses=tuple(
            _as_pictured(folder, guess, shown[run_id])
            for guess, run_id in zip(sample.guesses, chosen.ids, strict=True)
        ),
        picture=str(picture_path(folder, picture.file)),
        input_picture=_path_text(folder, picture.input_file),
    )


def _picture_of(sample: str, drawn: PicturedGroup, folder: Path) -> Pictured | None:
    """Return the picture of a sample, of every run, unless a file was deleted since."""
    for picture in drawn.samples:
        if picture.id == sample and {guess.run for guess in picture.predictions} == set(drawn.runs):
            there = all(picture_path(folder, file).is_file() for file in picture.files())
            return picture if there else None
    return None


def _with_class_name(guess: PredictedClass, names: Mapping[int, str]) -> PredictedClass:
    return replace(guess, name=names.get(guess.prediction, ""))


def _as_pictured(folder: Path, guess: PredictedClass, pictured: PicturedGuess) -> PredictedClass:
    # a picture is drawn by running the model anew, which another device may round otherwise
    differs = pictured.prediction != guess.prediction
    text = class_text(pictured.prediction, pictured.name) if differs else ""
    end = None if pictured.end is None else _end_picture(folder, pictured.end)
    return replace(guess, pictured=text, end=end)


def _end_picture(folder: Path, end: PicturedEnd) -> EndPicture:
    return EndPicture(
        end.patches, end.tokens, end.dropped, end.merged, _path_text(folder, end.file), end.aside
    )


def _path_text(folder: Path, file: str | None) -> str:
    return "" if file is None else str(picture_path(folder, file))
