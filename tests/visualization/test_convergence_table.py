"""The table and the figure of a study of convergence, from made-up findings."""

from __future__ import annotations

import csv
import io

from keeprate.visualization.convergence import HeadFound
from keeprate.visualization.convergence_chart import FLOOR, chart
from keeprate.visualization.convergence_table import as_csv, as_markdown, stays, summaries


def row(
    image: str, head: int | None, settled: int | None, *divergences: float, block: int = 1
) -> HeadFound:
    return HeadFound(image, block, head, 25, 10, divergences, settled)


ROWS = [
    row("a", None, 3, 0.25, 1e-9),
    row("a", 0, 2, 0.5, 2e-9),
    row("b", None, None, 0.75, 3e-9),
    row("b", 0, 6, 1.0, 0.0),
    row("c", None, 5, 0.5, 2e-9),
    row("c", 0, 7, 0.0, 1e-9),
]


def test_the_markdown_table_is_of_all_images() -> None:
    assert as_markdown(summaries(ROWS), (1, 5, 50)).splitlines() == [
        "| block | head | kept | KL 1 to 5 | KL 5 to 50 | kept set stays after |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| 1 | all | 10 of 25 | 5.00e-01 | 2.00e-09 | 5 (>50) |",
        "| 1 | 0 | 10 of 25 | 5.00e-01 | 1.00e-09 | 6 (7) |",
    ]


def test_the_csv_table_has_every_image() -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(ROWS, (1, 5, 50)))))
    assert len(lines) == len(ROWS)
    assert lines[2] == {
        "image": "b",
        "block": "1",
        "head": "all",
        "patches": "25",
        "keep": "10",
        "kl_1_5": "0.75",
        "kl_5_50": "3e-09",
        "settled": "",
    }


def test_where_half_of_the_images_never_settle_the_median_says_so() -> None:
    [found] = summaries([row("a", 0, 4, 0.0), row("b", 0, None, 0.0)])
    assert stays(found, (1, 50)) == ">50 (>50)"
    [found] = summaries([row("a", 0, 4, 0.0), row("b", 0, 5, 0.0)])
    assert stays(found, (1, 50)) == "4.5 (5)"


def test_the_figure_draws_every_head_and_block() -> None:
    rows = [*ROWS, row("a", 0, None, 0.1, 0.01, block=7), row("a", None, None, 0.1, 0.0, block=7)]
    spec = chart(summaries(rows), (1, 5, 50), "title").to_dict()
    panels, table = spec["vconcat"]
    points = spec["datasets"][panels["data"]["name"]]
    assert {(p["block"], p["head"]) for p in points} == {
        (block, head) for block in ("block 1", "block 7") for head in ("all", "0")
    }
    assert {p["step"] for p in points} == {"1-5", "5-50"}
    assert min(p["kl"] for p in points) == FLOOR
    cells = spec["datasets"][table["data"]["name"]]
    texts = {(cell["block"], cell["head"]): cell["text"] for cell in cells}
    assert texts == {(1, "all"): "5", (1, "0"): "6", (7, "0"): ">50", (7, "all"): ">50"}
