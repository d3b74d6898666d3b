"""What the largest vision transformers cost at 196 to 16,384 patches, and methods beside them.

    python benchmarks/large_models.py [--chart docs/large_models.svg]

Prints the tables of docs/large_models.md: everything is counted on the meta device, so no weights
are made and no image is run. Costs are keeprate's own; bytes are those of the tensors that a stage
makes, alive at one time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import altair as alt
import torch
from stage_memory import Layer, stage_bytes, streamed_matching, streamed_page_rank

import keeprate
from keeprate.backbone import Backbone
from keeprate.backbones.loading.timm_request import TimmRequest
from keeprate.backbones.lookup import adapt
from keeprate.reduction.macs import costs, overhead
from keeprate.reduction.reduced_model import ReducedModel
from keeprate_methods.zero_tprune import ZeroTPrune

MODELS = {
    "ViT-L/16": ("vit_large_patch16_384", 16),
    "ViT-H/14": ("vit_huge_patch14_224", 14),
    "ViT-g/14": ("vit_giant_patch14_dinov2", 14),
    "7 B": ("vit_7b_patch16_dinov3", 16),
}
"""timm's name of each model, and the side of its patches in pixels."""
GRIDS = (14, 24, 32, 64, 128)
"""Patches in a row of each image: 196, 576, 1024, 4096 and 16,384 in all."""
METHODS = ("zero-tprune", "tome", "attention-score", "class-attention")
BUDGET, SAVED = "65%", 0.35
STREAMED = "page rank, streamed"
ROWS = 128
"""Rows of a matrix that are alive at a time where it is streamed."""
MB = 10**6


@cache
def backbone_of(label: str, grid: int) -> Backbone:
    """Return a model made for images of `grid` x `grid` patches, without weights."""
    name, patch = MODELS[label]
    return adapt(TimmRequest(name, (grid * patch, grid * patch), None).skeleton().eval())


@cache
def reduced(label: str, grid: int, method: str, budget: str | float = BUDGET) -> ReducedModel:
    """Return the model reduced to the budget; KeeprateError where it is out of reach."""
    return keeprate.reduce(backbone_of(label, grid).model, method, budget=budget)


def cost_row(label: str, grid: int) -> list[str]:
    """Return the cells of a model's costs: GMACs, and the share of each part."""
    unpruned = costs(backbone_of(label, grid).model)
    parts = (unpruned.attention, unpruned.projections, unpruned.mlp)
    shares = [f"{part / unpruned.total:.1%}" for part in parts]
    return [label, f"{grid * grid:,}", f"{unpruned.total / 1e9:,.0f}", *shares]


def own_share(label: str, grid: int, method: str) -> float:
    """Return what a method itself costs at the budget, as a share of the unpruned model."""
    unpruned = keeprate.macs(backbone_of(label, grid).model)
    return reduced(label, grid, method).costs().overhead / unpruned


def page_rank_macs(label: str, grid: int) -> int:
    """Return the part of Zero-TPrune's own cost that is not matching, at the budget."""
    runner = reduced(label, grid, "zero-tprune")
    matching = overhead(runner.backbone, ZeroTPrune(pattern="S"), runner.stages(), grid * grid)
    return runner.costs().overhead - matching


def streamed_share(label: str, grid: int) -> float:
    """Return what the page rank costs where each step computes the matrix anew, as a share."""
    unpruned = keeprate.macs(backbone_of(label, grid).model)
    return page_rank_macs(label, grid) * (1 + backbone_of(label, grid).head_dim) / unpruned


def least_saving(label: str, grid: int, method: str) -> float:
    """Return the share of the model that must go before the method has earned its own cost.

    It is what the lightest reduction saves whose total is below the unpruned cost.
    """
    unpruned = keeprate.macs(backbone_of(label, grid).model)
    lightest = reduced(label, grid, method, (unpruned - 1) / 1e9).costs()
    return 1 - lightest.model / unpruned


def overhead_row(label: str, grid: int) -> list[str]:
    """Return the cells of what each method costs beside the model, in shares of it."""
    unpruned = keeprate.macs(backbone_of(label, grid).model)
    ranking = page_rank_macs(label, grid) / unpruned
    shares = [ranking, own_share(label, grid, "zero-tprune") - ranking]
    shares += [own_share(label, grid, method) for method in METHODS[1:]]
    shares += [least_saving(label, grid, method) for method in METHODS[:2]]
    return [label, f"{grid * grid:,}", *(f"{share:.2%}" for share in shares)]


def traffic_row(label: str, grid: int) -> list[str]:
    """Return the cells of what the page rank reads, what is saved for it, and its cost streamed."""
    unpruned = keeprate.macs(backbone_of(label, grid).model)
    runner = reduced(label, grid, "zero-tprune")
    ranking = page_rank_macs(label, grid)
    read = 4 * ranking  # each multiply-accumulate of a step reads one float32 of the matrix
    saved = unpruned - runner.costs().total
    streamed = streamed_share(label, grid)
    return [
        label,
        f"{grid * grid:,}",
        f"{read / 1e9:,.1f}",
        f"{saved / read:,.0f}",
        f"{streamed:.1%}",
    ]


def memory_row(label: str, grid: int) -> list[str]:
    """Return the cells of what a stage needs for one image, in MB, and what it needs streamed."""
    backbone = backbone_of(label, grid)
    layer = Layer.of(backbone, grid * grid, torch.float32)
    matrix = 4 * backbone.heads * layer.tokens.count**2
    half = Layer.of(backbone, grid * grid, torch.bfloat16)
    found = [matrix]
    for method in METHODS:
        stage = reduced(label, grid, method).stages()[0]
        found.append(stage_bytes(layer, method, stage).most)
        if method == "zero-tprune":
            found.append(stage_bytes(half, method, stage).most)
    found.append(matrix // backbone.heads)
    found.append(layer.live_bytes(lambda: streamed_page_rank(layer, 1, ROWS)).largest)
    found.append(layer.live_bytes(lambda: streamed_matching(layer, ROWS)).most)
    return [label, f"{grid * grid:,}", *(f"{each / MB:,.1f}" for each in found)]


TABLES: Mapping[str, Callable[[str, int], list[str]]] = {
    "model | patches | GMACs | attention | projections | mlp": cost_row,
    "model | patches | page rank | matching | tome | attention-score | class-attention "
    "| must save: zero-tprune | tome": overhead_row,
    "model | patches | GB read | MACs saved a byte | page rank, streamed": traffic_row,
    "model | patches | matrix | zero-tprune | in bfloat16 | tome | attention-score "
    "| class-attention | matrix of one head | 128 rows of all | matching, streamed": memory_row,
}
"""The heading of each table, and what makes a row of it."""


def line(cells: list[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def chart() -> alt.HConcatChart:
    """Return the figure: attention's share, and what methods cost beside the model."""
    rows = [
        {
            "model": label,
            "patches": grid * grid,
            "attention": costs(backbone_of(label, grid).model).attention
            / keeprate.macs(backbone_of(label, grid).model),
            STREAMED: streamed_share(label, grid),
            **{method: own_share(label, grid, method) for method in METHODS[:3]},
        }
        for label in MODELS
        for grid in GRIDS
    ]
    patches = alt.Axis(values=[grid * grid for grid in GRIDS])
    spread = alt.Scale(type="log", domain=[170, 19_000], nice=False)
    ink = alt.Scale(domain=list(MODELS), range=["#0072B2", "#D55E00", "#009E73", "#CC79A7"])
    base = (
        alt.Chart(alt.Data(values=rows))
        .mark_line()
        .encode(
            x=alt.X("patches:Q", title="patch tokens", axis=patches, scale=spread),
            color=alt.Color("model:N", scale=ink, title=None),
        )
        .properties(width=330, height=320)
    )
    left = base.encode(
        y=alt.Y("attention:Q", title="attention, of the cost", axis=alt.Axis(format="%"))
    )
    return alt.hconcat(left, _own_costs(base))


def _own_costs(base: alt.Chart) -> alt.LayerChart:
    """Return the panel of the methods' own costs, with a rule at what they save."""
    series = [STREAMED, *METHODS[:3]]
    dashes = alt.Scale(domain=series, range=[[6, 2, 1, 2], [1, 0], [4, 4], [1, 3]])
    powers = alt.Axis(format="~%", values=[10.0**power for power in range(-6, 1)])
    scale = alt.Scale(type="log", domain=[1e-6, 1])
    y = alt.Y("share:Q", title=f"own cost at {BUDGET}, of unpruned", axis=powers, scale=scale)
    lines = base.transform_fold(series, as_=["method", "share"]).encode(
        y=y, strokeDash=alt.StrokeDash("method:N", scale=dashes, title=None)
    )
    saved = alt.Chart(alt.Data(values=[{"share": SAVED, "text": "what is saved"}]))
    text = saved.mark_text(align="left", x=4, dy=-7).encode(y="share:Q", text="text:N")
    return lines + saved.mark_rule().encode(y="share:Q") + text


def main() -> None:
    """Print the tables and write the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chart", type=Path)
    asked = parser.parse_args()
    for heading, row in TABLES.items():
        columns = heading.split(" | ")
        print(f"\n{line(columns)}\n| --- |{' ---: |' * (len(columns) - 1)}", flush=True)
        for label in MODELS:
            for grid in GRIDS:
                print(line(row(label, grid)), flush=True)
    if asked.chart:
        chart().save(str(asked.chart))


if __name__ == "__main__":
    main()
