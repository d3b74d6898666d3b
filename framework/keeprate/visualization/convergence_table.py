"""The results of a study of convergence, as CSV (every image) and Markdown (all images)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from statistics import fmean, median

from .convergence import HeadFound


@dataclass(frozen=True)
class HeadSummary:
    """One head of a block over all images; `head` is its number, or "all" for all heads together.

    `divergences` are means over the images. `settled` is the median and `latest` the greatest
    number of iterations after which the kept set stays the same; an image whose set changed at the
    last iteration counts as infinite.
    """

    block: int
    head: str
    patches: int
    keep: int
    divergences: tuple[float, ...]
    settled: float
    latest: float


def summaries(rows: Sequence[HeadFound]) -> list[HeadSummary]:
    """Return a summary for each block and head, in the order they were found."""
    groups: dict[tuple[int, int | None], list[HeadFound]] = {}
    for row in rows:
        groups.setdefault((row.block, row.head), []).append(row)
    return [_summary(group) for group in groups.values()]


def _summary(head_rows: Sequence[HeadFound]) -> HeadSummary:
    first = head_rows[0]
    # infinity sorts last: the median is right also where some images did not settle
    settled_after = [inf if row.settled is None else row.settled for row in head_rows]
    return HeadSummary(
        block=first.block,
        head=_head(first),
        patches=first.patches,
        keep=first.keep,
        divergences=tuple(map(fmean, zip(*(row.divergences for row in head_rows), strict=True))),
        settled=median(settled_after),
        latest=max(settled_after),
    )


def as_csv(rows: Sequence[HeadFound], iterations: Sequence[int]) -> str:
    """Return a line for each image, block and head, with the line ends of RFC 4180.

    `settled` is empty where the kept set changed at the last iteration.
    """
    text = io.StringIO()
    table = csv.writer(text)
    steps = [f"kl_{before}_{after}" for before, after in _steps(iterations)]
    table.writerow(["image", "block", "head", "patches", "keep", *steps, "settled"])
    for row in rows:
        cells = [row.image, row.block, _head(row), row.patches, row.keep]
        table.writerow([*cells, *row.divergences, "" if row.settled is None else row.settled])
    return text.getvalue()


def as_markdown(found: Sequence[HeadSummary], iterations: Sequence[int]) -> str:
    """Return the table of all images: mean divergences, and after how many iterations sets stay."""
    steps = [f"KL {before} to {after}" for before, after in _steps(iterations)]
    headings = ["block", "head", "kept", *steps, "kept set stays after"]
    lines = [headings, ["---", "---", *["---:"] * (len(headings) - 2)]]
    for summary in found:
        kept = f"{summary.keep} of {summary.patches}"
        numbers = [f"{divergence:.2e}" for divergence in summary.divergences]
        lines.append([str(summary.block), summary.head, kept, *numbers, stays(summary, iterations)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def stays(each: HeadSummary, iterations: Sequence[int]) -> str:
    """Return the median and, in brackets, the greatest number of iterations: "4 (7)", "8 (>50)"."""
    texts = [
        f">{iterations[-1]}" if number == inf else f"{number:g}"
        for number in (each.settled, each.latest)
    ]
    return f"{texts[0]} ({texts[1]})"


def _steps(iterations: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(iterations))


def _head(row: HeadFound) -> str:
    return "all" if row.head is None else str(row.head)
