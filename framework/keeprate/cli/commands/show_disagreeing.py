"""`keeprate show --disagreeing`: draws the samples on which runs disagree most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import KeeprateError, unknown_name
from ..printing import echo

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

    If a group cannot be drawn, a warning says why. Raises KeeprateError for a folder without
    finished runs, for options that do not go together, and if no group could be drawn.
    """
    _check(asked)

    # imported after the options are checked: reports and models take seconds to import
    from ...results.picture_index import FOLDER, INDEX, read_index, write_index
    from ...results.store import Store
    from ...visualization.disagreement_pictures import joined, names_of_others

    store, output = Store(folder), asked.output or folder / FOLDER
    comparisons = list(_comparisons(asked, folder))
    # pictures of other groups, drawn earlier, stay in the index and keep their file names
    old_index, _ = read_index(output)
    taken = names_of_others(old_index, [group.title for group, _ in comparisons])
    drawn = _draw_groups(asked, store, comparisons, taken)
    files = {name: content for pictures in drawn for name, content in pictures.files.items()}
    paths = write_index(output, joined(old_index, drawn), files)
    sheets = {sample.file for pictures in drawn for sample in pictures.group.samples}
    for path in paths:
        if path.name in {*sheets, INDEX}:
            echo(path)


def _check(options: ShowOptions) -> None:
    refused_options = {
        "IMAGE": options.images,
        "--schedule": options.schedule,
        "--image-size": options.image_size,
        **{f"--{name.replace('_', '-')}": value for name, value in options.input_options.items()},
    }
    wrong = [name for name, value in refused_options.items() if value]
    if wrong:
        raise KeeprateError(
            f"--disagreeing takes images and costs from the runs: drop {' and '.join(wrong)}."
        )
    if options.run_ids and (options.methods or options.budget):
        raise KeeprateError("--runs names the runs themselves: drop --method and --budget.")


def _comparisons(options: ShowOptions, folder: Path) -> Iterator[tuple[RunGroup, SelectedRuns]]:
    """Yield each group in which two or more runs are compared, together with these runs."""
    from ...analysis.run_selection import choose, named
    from ...analysis.series import arrange
    from ...analysis.write import runs_in

    groups = runs_in(folder).groups
    _check_names(options, groups)
    num_groups = 0
    for group in groups:
        if options.run_ids:
            selected: SelectedRuns | None = named(group, options.run_ids)
        else:
            budgets = [options.budget] if options.budget else []
            selected = choose(arrange(group, budgets), options.methods, options.budget or "")
        if selected is not None and len(selected.runs) > 1:
            num_groups += 1
            yield group, selected
    if not num_groups:
        raise KeeprateError(
            f"No two runs in {folder} to compare"
            f"{f' at {options.budget}' if options.budget else ''}: "
            "name two of one model on the same images with --runs ID --runs ID."
        )


def _check_names(options: ShowOptions, groups: Sequence[RunGroup]) -> None:
    ids = [run.id for group in groups for run in group.runs]
    methods = {run.run.method for group in groups for run in group.runs}
    for name in options.run_ids:
        if name not in ids:
            raise unknown_name("run", name, ids)
    for name in options.methods:
        if name not in methods:
            raise unknown_name("run of method", name, methods)


def _draw_groups(
    options: ShowOptions,
    store: Store,
    comparisons: Sequence[tuple[RunGroup, SelectedRuns]],
    taken: set[str],
) -> list[Drawn]:
    from ...visualization.disagreement_pictures import PictureOptions, draw

    picture_options = PictureOptions(options.most or DEFAULT_MOST, options.blocks, options.overlay)
    drawn, failed = [], []
    for group, selected in comparisons:
        try:
            drawn.append(draw(store, group, selected, _run_files(options), picture_options, taken))
        except KeeprateError as error:
            failed.append(f"{group.title}: {error}")
        else:
            _print_pictures(drawn[-1])
    if failed and not drawn:
        raise KeeprateError(failed[0])
    for line in failed:
        echo(f"Warning: {line}", err=True)
    return drawn


def _run_files(options: ShowOptions) -> RunFiles:
    from ...visualization.restored_runs import RunFiles
    from ..image_options import data_spec

    data = None if options.data is None else data_spec(options.data)
    return RunFiles(options.model, options.weights, data)


def _print_pictures(pictures: Drawn) -> None:
    count = len(pictures.group.samples)
    echo(f"{pictures.group.title}: {count} {'picture' if count == 1 else 'pictures'}.")
    echo(pictures.group.text)
    for line in pictures.warnings:
        echo(f"Warning: {line}.", err=True)
