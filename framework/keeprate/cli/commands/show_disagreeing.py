"""`keeprate show --disagreeing`: pictures for the report, of what runs disagree on most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...errors import KeeprateError, unknown_name

if TYPE_CHECKING:
    from ...analysis.run_selection import SelectedRuns
    from ...analysis.runs import RunGroup
    from ...results.store import Store
    from ...visualization.disagreement_pictures import Drawn
    from ...visualization.restored_runs import RunFiles
    from ..image_options import ShowOptions

DEFAULT_MOST = 8


def show_disagreeing(asked: ShowOptions, folder: Path) -> None:
    """Draw, for each group of runs in `folder`, the samples on which its runs disagree most.

    Of a group that cannot be drawn a warning says why. Raises KeeprateError for a folder without
    finished runs, options that do not go together, and where nothing could be drawn at all.
    """
    _check(asked)

    from ...results.picture_index import FOLDER, read_index, write_index
    from ...results.store import Store
    from ...visualization.disagreement_pictures import joined

    store, output = Store(folder), asked.output or folder / FOLDER
    comparisons = list(_comparisons(asked, folder))
    before, _ = read_index(output)
    titles = {group.title for group, _ in comparisons}
    kept = [group for group in before.groups if group.title not in titles]
    taken = {sample.file.lower() for group in kept for sample in group.samples}
    drawn = _drawn(asked, store, comparisons, taken)
    files = {name: content for each in drawn for name, content in each.files.items()}
    for path in write_index(output, joined(before, drawn), files):
        click.echo(path)


def _check(asked: ShowOptions) -> None:
    given = {
        "IMAGE": asked.images,
        "--schedule": asked.schedule,
        "--image-size": asked.image_size,
    }
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise KeeprateError(
            f"--disagreeing takes images and costs from the runs: drop {' and '.join(wrong)}."
        )
    if asked.run_ids and (asked.methods or asked.budget):
        raise KeeprateError("--runs names the runs themselves: drop --method and --budget.")


def _comparisons(asked: ShowOptions, folder: Path) -> Iterator[tuple[RunGroup, SelectedRuns]]:
    """The groups in which two runs or more are to be compared, with these runs."""
    from ...analysis.run_selection import choose, named
    from ...analysis.series import arrange
    from ...analysis.write import summarise_folder

    groups = summarise_folder(folder).evidence.groups
    _check_names(asked, groups)
    found = 0
    for group in groups:
        if asked.run_ids:
            chosen: SelectedRuns | None = named(group, asked.run_ids)
        else:
            budgets = [asked.budget] if asked.budget else []
            chosen = choose(arrange(group, budgets), asked.methods, asked.budget or "")
        if chosen is not None and len(chosen.runs) > 1:
            found += 1
            yield group, chosen
    if not found:
        raise KeeprateError(
            f"No two runs in {folder} to compare{f' at {asked.budget}' if asked.budget else ''}: "
            "name two of one model on the same images with --runs ID --runs ID."
        )


def _check_names(asked: ShowOptions, groups: Sequence[RunGroup]) -> None:
    ids = [each.id for group in groups for each in group.runs]
    methods = {each.run.method for group in groups for each in group.runs}
    for name in asked.run_ids:
        if name not in ids:
            raise unknown_name("run", name, ids)
    for name in asked.methods:
        if name not in methods:
            raise unknown_name("run of method", name, methods)


def _drawn(
    asked: ShowOptions,
    store: Store,
    comparisons: Sequence[tuple[RunGroup, SelectedRuns]],
    taken: set[str],
) -> list[Drawn]:
    from ...visualization.disagreement_pictures import PictureOptions, draw

    look = PictureOptions(asked.most or DEFAULT_MOST, asked.blocks, asked.overlay)
    drawn, failed = [], []
    for group, chosen in comparisons:
        try:
            drawn.append(draw(store, group, chosen, _places(asked), look, taken))
        except KeeprateError as error:
            failed.append(f"{group.title}: {error}")
        else:
            _tell(drawn[-1])
    if failed and not drawn:
        raise KeeprateError(failed[0])
    for line in failed:
        click.echo(f"Warning: {line}", err=True)
    return drawn


def _places(asked: ShowOptions) -> RunFiles:
    from ...visualization.restored_runs import RunFiles
    from ..image_options import data_spec

    data = None if asked.data is None else data_spec(asked.data)
    return RunFiles(asked.model, asked.weights, data)


def _tell(drawn: Drawn) -> None:
    count = len(drawn.files)
    click.echo(f"{drawn.group.title}: {count} {'picture' if count == 1 else 'pictures'}.")
    click.echo(drawn.group.text)
    for line in drawn.warnings:
        click.echo(f"Warning: {line}.", err=True)
