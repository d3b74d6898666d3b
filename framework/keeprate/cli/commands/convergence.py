"""`keeprate convergence`: does a method's ranking converge, block by block and head by head?"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import click

from ...errors import KeeprateError
from ..image_options import Numbers, Picking, check_blocks, file_name, picking_options, source
from ..options import plugin_options
from ..printing import echo

if TYPE_CHECKING:
    import altair as alt

    from ...method import Method
    from ...visualization.convergence import BlockFound, Question
    from ...visualization.image_selection import SelectedImage

Kind: TypeAlias = Literal["svg", "png", "pdf"]
DEFAULT_KEEP: Final = 0.7
FIGURES: Final[tuple[Kind, ...]] = ("svg", "png", "pdf")


@dataclass(frozen=True)
class ConvergenceOptions(Picking):
    """The options of the command as they were typed."""

    method: str
    iterations: tuple[int, ...]
    blocks: tuple[int, ...] | None
    keep: float | None
    schedule: str | None
    budget: str | None
    output: Path


@click.command()
@picking_options
@click.option(
    "--method", required=True, metavar="NAME[:PARAMETERS]", help="A method that iterates."
)
@click.option(
    "--iterations",
    type=Numbers(),
    default="1,5,10,30,50",
    show_default=True,
    metavar="1,5,...",
    help="Numbers of iterations to compare, each with the one before.",
)
@click.option("--blocks", type=Numbers(), metavar="1,3,5", help="Of the unpruned model; all.")
@click.option(
    "--keep",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="RATE",
    help="Share of the patch tokens that counts as kept; default: 0.7.",
)
@click.option("--schedule", metavar="SCHEDULE", help="Look at its stages, reducing on the way.")
@click.option("--budget", metavar="COST", help="The same, solved for a cost.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/convergence"),
    metavar="DIR",
    show_default=True,
    help="Where table, figure and maps go.",
)
@plugin_options
def convergence(**options: Any) -> None:
    """Compare a method's score distributions after more and more iterations, head by head.

    IMAGE is as for `keeprate show`. Tells the Kullback-Leibler divergence (nats) between successive
    distributions, and the number of iterations after which the kept tokens stay the same. Written
    are a table (CSV: every image; Markdown: all), a figure and, for each image, a sheet of maps.
    """
    typed = ConvergenceOptions(**options)
    question = question_of(typed)
    image_source = source(typed)
    check_blocks(typed.blocks, image_source.backbone.depth)

    # imported after the options are checked: drawing libraries take long to import
    from ...results.atomic_files import write_together
    from ...visualization.convergence import ConvergenceStudy

    method = _method(typed.method)
    images = image_source.pick(typed.images)
    study = ConvergenceStudy(image_source, method, question)
    looks = [ImageFindings(image, study.look(image)) for image in images]
    title = (
        f"{typed.method} on {image_source.loaded.name}, {len(looks)} image{'s' * (len(looks) > 1)}"
    )
    files = {**map_files(looks, question.iterations), **files_of(looks, question.iterations, title)}
    write_together({typed.output / name: content for name, content in files.items()})
    for name in files:
        echo(typed.output / name)


@dataclass(frozen=True)
class ImageFindings:
    """One image, and the convergence of each block on it."""

    picked: SelectedImage
    blocks: list[BlockFound]


def question_of(asked: ConvergenceOptions) -> Question:
    """Return the question that the options ask. Raises KeeprateError if they exclude each other."""
    from ...request import Cost
    from ...visualization.convergence import Question

    numbers = tuple(sorted({*asked.iterations}))
    if asked.schedule is None and asked.budget is None:
        return Question(numbers, None, asked.blocks, asked.keep or DEFAULT_KEEP)
    if asked.blocks is not None or asked.keep is not None:
        raise KeeprateError(
            "--blocks and --keep are for the unpruned model: leave out --schedule and --budget, "
            "whose stages say where and how many."
        )
    return Question(numbers, Cost(asked.schedule, asked.budget))


def _method(spec: str) -> Method:
    from ...plugins.parameters import parse_spec
    from ...request import RunSpec
    from ...study.build import build_run

    return build_run(RunSpec(*parse_spec(spec)), seed=0).method


def files_of(
    looks: Sequence[ImageFindings], iterations: Sequence[int], title: str
) -> dict[str, bytes]:
    """Return the contents of the tables and the figure, by file name."""
    from ...visualization.convergence import rows_of
    from ...visualization.convergence_chart import chart
    from ...visualization.convergence_table import as_csv, as_markdown, summaries

    rows = [row for look in looks for row in rows_of(look.blocks)]
    table_rows = summaries(rows)
    files = {
        "convergence.csv": as_csv(rows, iterations).encode(),
        "convergence.md": f"{title}\n\n{as_markdown(table_rows, iterations)}".encode(),
    }
    figure = chart(table_rows, iterations, title)
    files |= {f"convergence.{kind}": _rendered(figure, kind) for kind in FIGURES}
    # inline: the page needs no network
    return files | {"convergence.html": figure.to_html(inline=True).encode()}


def map_files(looks: Sequence[ImageFindings], iterations: Sequence[int]) -> dict[str, bytes]:
    """Return the content of a sheet of maps for each image, by file name."""
    from ...visualization.sheet import png
    from ...visualization.token_sheet import maps_sheet

    taken: set[str] = set()
    return {
        file_name(f"maps-{look.picked.stem}", taken): png(
            maps_sheet(look.picked, look.blocks, iterations)
        )
        for look in looks
    }


def _rendered(figure: alt.VConcatChart, kind: Kind) -> bytes:
    """Return the content of a file of this kind with the figure."""
    # altair writes SVG as text and the other kinds as bytes
    buffer: io.StringIO | io.BytesIO = io.StringIO() if kind == "svg" else io.BytesIO()
    figure.save(buffer, format=kind, scale_factor=2 if kind == "png" else 1)
    content = buffer.getvalue()
    return content.encode() if isinstance(content, str) else content
