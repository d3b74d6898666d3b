"""Pictures show what is set aside, that it comes back, and what the last stage left."""

from __future__ import annotations

import pytest

from broken_skips import Skip
from keeprate.request import Cost
from keeprate.study.comparison import MethodAtCost
from keeprate.visualization.end_pictures import described_end, end_owners
from keeprate.visualization.token_sheet import sheet_of
from keeprate.visualization.token_tracks import ImageTrace, TokenTracer
from picture_factory import source_of
from references.tiny import tiny_vit


@pytest.fixture(scope="module")
def tracer() -> TokenTracer:
    source = source_of(tiny_vit("vit_base_patch16_siglip_gap_224"))
    return TokenTracer(source, {"run": MethodAtCost(Skip((2,)), Cost("18@0,20@2,7@3"))})


@pytest.fixture(scope="module")
def shown(tracer: TokenTracer) -> ImageTrace:
    [picked] = tracer.source.pick(["2"])
    return tracer.trace(picked)


def test_a_sheet_shows_what_a_stage_left_and_what_is_back(shown: ImageTrace) -> None:
    sheet = sheet_of(shown, [0, 1, 2, 3], overlay=True)
    left, importance = sheet.rows
    assert [panel.caption for panel in left.panels] == [
        "input: 25 patch tokens",
        "after block 0: 18",
        "after block 1: 25",
        "after block 2: 20",
        "after block 3: 7",
    ]
    # at the last block tokens come back after the stage: its map is shown nevertheless
    captions = ["", "seen at block 0", "", "seen at block 2", "seen at block 3"]
    assert [panel.caption for panel in importance.panels] == captions
    assert sheet.notes == ("Dimmed: set aside, to come back.",)


def test_an_end_is_what_the_last_stage_left_and_drops_nothing(shown: ImageTrace) -> None:
    end = described_end(end_owners(shown, shown.tracks[0]), "run.png")
    assert (end.patches, end.tokens, end.dropped, end.aside, end.merged) == (25, 7, 0, 18, 0)


def test_what_is_compared_with_other_runs_is_what_the_last_stage_kept(tracer: TokenTracer) -> None:
    [found] = tracer.reductions(tracer.source.pick(["1", "2"]))
    assert found is not None
    assert (found.owners >= 0).sum(dim=1).tolist() == [7, 7]
    assert int(found.owners.min()) == -1
