"""The samples on which chosen runs disagree most, from their rows, with the pictures there are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from ...errors import KeeprateError
from ...request import PREFIX
from ...results.picture_index import Pictured, PicturedGroup, PictureIndex, picture_path
from ...results.store import Store
from ..disagreement import DisagreedSample, Disagreement, PredictedClass
from ..rerun import model_spec_of
from ..run_selection import SelectedRuns, choose
from ..runs import RunGroup
from ..series import SeriesTable
from .commands import plugin_words
from .disagreement_ranking import COLUMNS, DIFFERENT, SPREAD, apart, ranked

MOST_SAMPLES: Final = 8
"""Samples that are listed where no more pictures were drawn."""


def disagreement(
    store: Store, group: RunGroup, arranged: SeriesTable, index: PictureIndex
) -> Disagreement | None:
    """Return what the runs of a group disagree on; None where no two stand at one cost.

    The runs are those that pictures were drawn of, where there are any, else those of `choose`.
    Only their rows are read. Raises KeeprateError for rows that cannot be read.
    """
    drawn = index.of_group([each.id for each in group.runs])
    chosen = choose(arranged) if drawn is None else named_as(drawn, group)
    if chosen is None:
        return None
    most = MOST_SAMPLES if drawn is None else max(MOST_SAMPLES, len(drawn.samples))
    found = disputed(store, group, chosen, most)
    return Disagreement(
        budget=chosen.budget,
        run_ids=chosen.ids,
        labels=tuple(chosen.runs),
        text=chosen.text,
        images=found.images,
        differing=found.differing,
        samples=tuple(_with_picture(store.folder, each, drawn, chosen) for each in found.samples),
        command=command(store, group),
    )


def named_as(drawn: PicturedGroup, group: RunGroup) -> SelectedRuns:
    """Return the runs that pictures were drawn of, under the labels they have there."""
    by_id = {each.id: each for each in group.runs}
    runs = {label: by_id[run] for label, run in zip(drawn.labels, drawn.runs, strict=True)}
    return SelectedRuns(drawn.budget, runs, drawn.text)


def disputed(store: Store, group: RunGroup, chosen: SelectedRuns, most: int) -> Disagreement:
    """Return the samples, at most `most`, without pictures and names of classes.

    Raises KeeprateError for rows that cannot be read and runs that have no sample in common.
    """
    runs = {run_id: store.rows(run_id, (*COLUMNS, "label")) for run_id in chosen.ids}
    found = ranked(list(runs.values()))
    if not found.height:
        raise KeeprateError(f"The runs have no sample in common: {', '.join(runs)}.")
    worst = apart(found).head(most)
    names = worst["sample"].to_list()
    against = group.unpruned
    tables = [_by_sample(rows, names) for rows in runs.values()]
    plain = _by_sample(store.rows(against.id, (*COLUMNS, "label")), names) if against else {}
    return Disagreement(
        budget=chosen.budget,
        run_ids=chosen.ids,
        labels=tuple(chosen.runs),
        text=chosen.text,
        images=found.height,
        differing=int((found[DIFFERENT] > 0).sum()),
        samples=tuple(_sample(row, tables, plain) for row in worst.iter_rows(named=True)),
        command="",
    )


def command(store: Store, group: RunGroup) -> str:
    """Return the `keeprate show` that draws the pictures of a group, "" for texts."""
    run = group.runs[0].run
    if run.backbone.samples == "texts":
        return ""
    plugins = plugin_words(each.run for each in group.runs)
    words = ["keeprate", *plugins, "show", "--disagreeing", str(store.folder)]
    model = model_spec_of(run.backbone)
    if model.weights is not None:
        words += ["--weights", str(model.weights)]
    elif model.name is not None and model.name.startswith(PREFIX):
        words += ["--model", model.name]
    return shlex.join(words)


def _by_sample(rows: pl.DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    chosen = rows.filter(pl.col("sample").is_in(names))
    return {row["sample"]: row for row in chosen.iter_rows(named=True)}


def _sample(
    row: Mapping[str, Any],
    tables: Sequence[Mapping[str, Mapping[str, Any]]],
    plain: Mapping[str, Mapping[str, Any]],
) -> DisagreedSample:
    name = row["sample"]
    label = tables[0][name]["label"]
    return DisagreedSample(
        sample=name,
        label=label,
        label_name="",
        unpruned=_guess(plain[name], label) if name in plain else None,
        guesses=tuple(_guess(table[name], label) for table in tables),
        different_percent=100 * row[DIFFERENT],
        kl_spread_nats=row[SPREAD],
    )


def _guess(row: Mapping[str, Any], label: int) -> PredictedClass:
    return PredictedClass(row["prediction"], "", row["prediction"] == label)


def _with_picture(
    folder: Path, sample: DisagreedSample, drawn: PicturedGroup | None, chosen: SelectedRuns
) -> DisagreedSample:
    """The sample with the names of its classes and its picture, as far as they are there."""
    if drawn is None:
        return sample
    names = drawn.class_names()
    here = next((each for each in drawn.samples if each.id == sample.sample), None)
    path = picture_path(folder, here.file) if here else None
    shown = here if path and path.is_file() else None
    guesses = [
        _named(guess, names, _pictured(shown, run_id))
        for guess, run_id in zip(sample.guesses, chosen.ids, strict=True)
    ]
    plain = shown.unpruned.prediction if shown else None
    return DisagreedSample(
        sample=sample.sample,
        label=sample.label,
        label_name=names.get(sample.label, ""),
        unpruned=_named(sample.unpruned, names, plain) if sample.unpruned else None,
        guesses=tuple(guesses),
        different_percent=sample.different_percent,
        kl_spread_nats=sample.kl_spread_nats,
        picture=str(path) if shown else "",
    )


def _pictured(shown: Pictured | None, run_id: str) -> int | None:
    """The class that a run predicts in the picture."""
    said = shown.predictions if shown else ()
    return next((each.prediction for each in said if each.run == run_id), None)


def _named(guess: PredictedClass, names: Mapping[int, str], pictured: int | None) -> PredictedClass:
    other = pictured is not None and pictured != guess.prediction
    text = f"{names.get(pictured or 0, '')} ({pictured})".lstrip() if other else ""
    return PredictedClass(guess.prediction, names.get(guess.prediction, ""), guess.right, text)
