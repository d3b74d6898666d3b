"""Where weights come from is one of a few kinds, stored as the text that reports show."""

from __future__ import annotations

import pytest

from keeprate.results.records import BackboneInfo
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin
from results_factory import make_backbone, make_run

TEXTS = {
    "pretrained": WeightsOrigin(WeightsKind.PRETRAINED),
    "random weights": WeightsOrigin(WeightsKind.RANDOM),
    "given": WeightsOrigin(WeightsKind.GIVEN),
    "shipped with my digits": WeightsOrigin(WeightsKind.SHIPPED, "my digits"),
    "vit.safetensors": WeightsOrigin(WeightsKind.FILE, "vit.safetensors"),
    "not shipped with it.pt": WeightsOrigin(WeightsKind.FILE, "not shipped with it.pt"),
    # files may be called as the other kinds are
    "./given": WeightsOrigin(WeightsKind.FILE, "given"),
    "./shipped with love.pt": WeightsOrigin(WeightsKind.FILE, "shipped with love.pt"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_stands_for_one_origin_and_back(text: str) -> None:
    assert WeightsOrigin.parse(text) == TEXTS[text]
    assert str(TEXTS[text]) == text


@pytest.mark.parametrize("text", TEXTS)
def test_records_keep_the_text(text: str) -> None:
    stored = {**make_backbone().model_dump(mode="json"), "weights": text}
    info = BackboneInfo.model_validate(stored)
    assert info.weights == TEXTS[text]
    assert info.model_dump(mode="json") == stored
    assert BackboneInfo.model_validate_json(info.model_dump_json()) == info


def test_the_id_of_a_run_does_not_say_where_its_weights_come_from() -> None:
    origins = TEXTS.values()
    backbones = [make_backbone().model_copy(update={"weights": origin}) for origin in origins]
    assert len({make_run(backbone=backbone).id for backbone in backbones}) == 1
