"""Published results: keeprate's counts are recomputed, and trainings are told apart."""

from __future__ import annotations

import re
from functools import cache

import pytest
from torch import nn

import keeprate
from keeprate.analysis.sections.published import (
    NOT_PRINTED,
    PublishedRow,
    published,
    published_models,
    published_rows,
)
from keeprate.backbones.loading.timm_request import TimmRequest
from keeprate.backbones.lookup import adapt
from keeprate.plugins.parameters import build, parse_spec
from keeprate.plugins.registry import registry
from keeprate.reduction.plan import make_plan
from paths import ROOT

MODELS = {model.backbone: model for model in published_models()}
COUNTED = sorted({(row.backbone, row.counted_as, row.macs) for row in published_rows() if row.macs})


@cache
def shapes_of(backbone: str) -> nn.Module:
    model = MODELS[backbone]
    size = (model.image_size, model.image_size)
    return TimmRequest(model.structure, size, None).skeleton().eval()


@pytest.mark.sample(2)
@pytest.mark.parametrize(("backbone", "counted_as", "macs"), COUNTED)
def test_our_count_of_a_published_schedule_is_what_keeprate_counts(
    backbone: str, counted_as: str, macs: int
) -> None:
    spec, _, schedule = counted_as.partition(" ")
    name, values = parse_spec(spec)
    method = build("method", registry().method(name), values)
    side = MODELS[backbone].image_size
    plan = make_plan(adapt(shapes_of(backbone)), method, schedule or None, None)
    assert plan.costs((side, side)).model == macs


@pytest.mark.sample(2)
@pytest.mark.parametrize("backbone", MODELS)
def test_the_unpruned_backbone_costs_what_shares_are_of(backbone: str) -> None:
    assert keeprate.macs(shapes_of(backbone)) == MODELS[backbone].unpruned_macs


def test_a_row_has_our_count_or_says_why_not() -> None:
    for row in published_rows():
        assert (row.macs is None) == bool(row.not_counted), row
        assert (row.macs is None) == (row.counted_as == ""), row


@pytest.mark.parametrize(
    ("method", "setting", "macs"),
    [("ToMe", "r=13", 2.703), ("EViT", "keep=0.7@3,6,9", 3.029), ("DiffRate", "2.9 G", 2.905)],
)
def test_counts_are_those_of_the_published_formulas(method: str, setting: str, macs: float) -> None:
    rows = [row for row in rows_of("DeiT-S") if (row.method, row.setting) == (method, setting)]
    assert rows
    assert {round((row.macs or 0) / 1e9, 3) for row in rows} == {macs}


def test_tome_from_scratch_and_off_the_shelf_are_two_trainings() -> None:
    points = published("deit_small_patch16_224.fb_in1k")
    tome = {p.training: p.top1_percent for p in points if (p.method, p.setting) == ("ToMe", "r=13")}
    assert tome == {"off-the-shelf": 78.826, "fine-tuned": 79.36}


def test_a_cost_that_is_not_printed_is_ours_and_says_so() -> None:
    points = published("deit_small_patch16_224")
    (point,) = [point for point in points if point.top1_percent == 78.826]
    assert (point.macs, point.own_macs, point.ruler) == (None, 2_702_701_056, NOT_PRINTED)
    assert point.share_percent == pytest.approx(100 * 2_702_701_056 / 4_598_882_304)


def test_what_is_not_to_be_used_or_has_no_figure_is_shown_with_no_model() -> None:
    shown = {point.source for model in MODELS.values() for point in published(model.structure)}
    assert not any("384 pixels" in backbone for backbone in MODELS)
    assert not any("abstract" in source for source in shown)
    assert {row.top1 for row in published_rows() if row.checked == "abstract"} == {None}


def test_the_page_of_numbers_has_every_count_under_its_training() -> None:
    text = (ROOT / "docs/numbers.md").read_text(encoding="utf-8")
    section = text.split("## Published points, counted again")[1].split("\n## ")[0]
    tables = re.findall(r"(?m)^\| method .*\n\| ---.*\n((?:\|.*\n)+)", section)
    trainings = ("off-the-shelf", "searched", "fine-tuned")
    for table, training in zip(tables, trainings, strict=True):
        cells = [tuple(cell.strip() for cell in line.split("|")) for line in table.splitlines()]
        said = [(line[1], line[3], line[4], line[5], line[6]) for line in cells]
        assert sorted(said) == sorted(map(as_said, counted_rows(training)))
    for why in {row.not_counted for row in published_rows() if row.not_counted}:
        times = sum(row.not_counted == why for row in published_rows())
        assert f"| {why} | {times} |" in section


def rows_of(backbone: str) -> list[PublishedRow]:
    return [row for row in published_rows() if row.backbone == backbone]


def counted_rows(training: str) -> list[PublishedRow]:
    rows = [row for row in published_rows() if row.macs and row.method != "unpruned"]
    return [row for row in rows if row.training == training]


def as_said(row: PublishedRow) -> tuple[str, str, str, str, str]:
    printed = "" if row.gmacs is None else f"{row.gmacs:g}"
    return row.method, row.backbone, f"{row.top1:g}", printed, f"{(row.macs or 0) / 1e9:.3f}"
