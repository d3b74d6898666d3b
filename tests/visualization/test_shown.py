"""What a sheet tells of an image is what the methods really did to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import keeprate
from keeprate import Attention, KeeprateError, Method, Stage, Tokens
from keeprate.backbones.loading.loaded import LoadedModel
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.data.images import build_transform
from keeprate.plugins.registry import registry
from keeprate.request import Cost
from keeprate.resizing import InputMethod
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin
from keeprate.study.comparison import MethodAtCost
from keeprate.visualization.class_names import class_names
from keeprate.visualization.image_selection import ImageSource, grid_of
from keeprate.visualization.patch_pictures import enlarged, survivors_picture
from keeprate.visualization.token_sheet import chosen_blocks, owners_after, sheet_of, tokens_left
from keeprate.visualization.token_tracks import (
    ImageTrace,
    MethodTrace,
    Prediction,
    StageTrace,
    TokenTracer,
)
from picture_factory import source_of
from references.tiny import tiny_vit, watched

SCHEDULE = "18@0,11@2,8@3"
EVERY = np.arange(25).reshape(5, 5)


def methods() -> list[str]:
    classes = [offer.cls for offer in registry().methods.values() if offer.cls.reduces]
    # those that make the input smaller have no stages to draw, and others keep what they choose
    others = [cls for cls in classes if issubclass(cls, InputMethod) or cls.keeps_per_image]
    return [cls.name for cls in classes if not cls.requires_weights and cls not in others]


def wanted(method: str | Method, schedule: str = SCHEDULE) -> MethodAtCost:
    built = registry().method(method)() if isinstance(method, str) else method
    return MethodAtCost(built, Cost(schedule))


def trace(
    source: ImageSource, method: str | Method, image: str = "2", **options: str
) -> ImageTrace:
    [picked] = source.pick([image])
    return TokenTracer(source, {"run": wanted(method, **options)}).trace(picked)


@pytest.mark.parametrize("method", methods())
@pytest.mark.parametrize(
    "model", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"], ids=["one", "two prefix"]
)
def test_a_track_is_what_reduce_does(method: str, model: str) -> None:
    source = source_of(tiny_vit(model))
    [picked] = source.pick(["noise/2"])
    shown = trace(source, method)
    reduced = keeprate.reduce(source.loaded.model, method, SCHEDULE, trace=True)
    with torch.inference_mode():
        logits = reduced(picked.inputs, torch.tensor([2]))
        plain = source.loaded.model(picked.inputs)
    [track] = shown.tracks
    assert shown.grid == (5, 5)
    assert [moment.block for moment in track.moments] == [0, 2, 3]
    for moment, stage in zip(track.moments, reduced.survivors, strict=True):
        assert moment.owners.ravel().tolist() == stage.owner[0].tolist()
    kept = [tokens_left(moment.owners) - reduced.method.appends for moment in track.moments]
    assert kept == [18, 11, 8]
    assert track.macs == reduced.macs_per_image.total[0]
    assert track.macs_share == pytest.approx(track.macs / keeprate.macs(source.loaded.model))
    for said, found in ((shown.before, plain), (track.prediction, logits)):
        share = found[0].softmax(dim=0)
        assert said.name == f"class {int(share.argmax())}"
        assert said.confidence == pytest.approx(float(share.max()))


def test_the_crop_is_what_the_model_sees() -> None:
    source = source_of(tiny_vit())
    [picked] = source.pick(["3"])
    given = replace(ModelInput.of(source.loaded.model), image_size=(20, 20))
    inputs = build_transform(given)(source.data.image(3))
    assert torch.equal(picked.inputs[0], inputs)
    assert picked.crop.shape == (20, 20, 3)
    pixels = torch.from_numpy(picked.crop).permute(2, 0, 1)
    assert torch.equal(build_transform(given).finish(pixels), inputs)


class Merging(Method):
    """Merges the last patch into the first, thinks later patches more important."""

    name = "merging"

    def __init__(self, importance: Tensor | None = None) -> None:
        self.said = importance

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        source = torch.tensor([[tokens.count - 1]]).expand(len(tokens.x), -1)
        return tokens.merge(source, torch.full_like(source, tokens.num_prefix))

    def importance(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor | None:
        if self.said is not None:
            return self.said
        return torch.arange(tokens.count).expand(len(tokens.x), -1)


def test_importance_is_that_of_the_token_a_patch_lives_in() -> None:
    [track] = trace(source_of(tiny_vit()), Merging(), schedule="24@0,23@1").tracks
    first, second = (moment.importance for moment in track.moments)
    assert first is not None
    assert second is not None
    assert first.ravel().tolist() == list(range(1, 26))
    assert second.ravel().tolist() == [*range(1, 25), 1]  # the last lives in the first by now
    assert track.moments[1].owners.ravel().tolist() == [*range(1, 24), 1, 1]


def test_importance_of_dropped_patches_is_not_known() -> None:
    [track] = trace(source_of(tiny_vit()), "class-attention", schedule="9@1,4@2").tracks
    first, second = track.moments
    assert first.importance is not None
    assert second.importance is not None
    assert not np.isnan(first.importance).any()
    assert np.array_equal(np.isnan(second.importance), first.owners < 0)


@pytest.mark.parametrize("method", ["attention-score", "class-attention", "random"])
def test_importance_of_methods_that_score_is_their_score(method: str) -> None:
    source = source_of(tiny_vit())
    [picked] = source.pick(["2"])
    [track] = trace(source, method, schedule="9@1").tracks
    reduced = keeprate.reduce(source.loaded.model, method, "9@1")
    with watched(reduced.method) as seen, torch.inference_mode():
        reduced(picked.inputs, torch.tensor([2]))
    importance = track.moments[0].importance
    assert importance is not None
    np.testing.assert_allclose(importance.ravel(), seen[0].attention.score[0, 1:], rtol=1e-6)


def test_merging_alone_has_no_importance() -> None:
    [track] = trace(source_of(tiny_vit()), "tome", schedule="r=5").tracks
    assert all(moment.importance is None for moment in track.moments)


@pytest.mark.parametrize(
    ("said", "found"), [(torch.zeros(1, 25), r"\(1, 25\)"), ([1.0], "list")], ids=["short", "list"]
)
def test_importance_of_another_shape_is_refused(said: Tensor, found: str) -> None:
    words = r"Method 'merging': importance must be one number per token, prefix tokens included, "
    with pytest.raises(KeeprateError, match=rf"{words}\(1, 26\), not {found}\.$"):
        trace(source_of(tiny_vit()), Merging(said), schedule="24@0")


def test_a_model_without_a_grid_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(tiny_vit())
    source.pick(["0"])
    monkeypatch.setattr(type(source.backbone), "grid", lambda self, image_size: None)
    with pytest.raises(KeeprateError) as raised:
        grid_of(source)
    assert str(raised.value) == (
        "Backbone 'timm-vit' does not tell how its patches part an image of 20 x 20 pixels: choose "
        "an --image-size of whole patches, or a model it does tell of."
    )


@pytest.mark.parametrize("name", ["noise/4", "4", "-1", "x.png"])
def test_a_sample_there_is_not_is_named(name: str) -> None:
    with pytest.raises(KeeprateError) as raised:
        source_of(tiny_vit()).pick([name])
    assert str(raised.value) == (
        f"Data set 'noise' has no sample '{name}': give an id, as 'noise/0', or an index from 0 to "
        "3. A file needs --model NAME and no --data."
    )


class Naming(nn.Module):
    """A model that says how many classes it has and what they are called."""

    def __init__(self, number: int, names: list[str] | None) -> None:
        super().__init__()
        self.num_classes = number
        self.pretrained_cfg = {"label_names": names}


def names_of(number: int, names: list[str] | None) -> list[str]:
    return class_names(
        LoadedModel(Naming(number, names), "named", WeightsOrigin(WeightsKind.GIVEN), "")
    )


def test_classes_have_the_names_the_model_gives_them() -> None:
    assert names_of(3, ["cat, house cat", "dog", "7"]) == ["cat", "dog", "7"]
    assert names_of(3, None) == ["class 0", "class 1", "class 2"]


def test_a_thousand_classes_are_those_of_imagenet() -> None:
    wordnet = [f"n{index:08}" for index in range(1000)]
    for names in (names_of(1000, None), names_of(1000, wordnet)):
        assert (names[0], names[1], names[999]) == ("tench", "goldfish", "toilet tissue")
    own = [f"kind {index}" for index in range(1000)]
    assert names_of(1000, own) == own


def track(*blocks: int, label: str = "run", name: str = "cat", maps: bool = False) -> MethodTrace:
    """A track that drops one patch more at each of its blocks."""
    moments = []
    for number, block in enumerate(blocks, start=1):
        owners = EVERY.copy()
        owners.flat[:number] = -1
        moments.append(StageTrace(block, owners, EVERY * 1.0 if maps else None))
    return MethodTrace(label, tuple(moments), Prediction(name, 0.5), 800_000_000, 0.64)


def story(*tracks: MethodTrace, label: str | None = "cat") -> ImageTrace:
    crop = np.full((20, 20, 3), 77, dtype=np.uint8)
    return ImageTrace("image", label, crop, (5, 5), Prediction("cat", 0.912), tracks)


def test_columns_are_the_blocks_where_anything_happens() -> None:
    assert chosen_blocks(story(track(1, 3), track(2, 3, 7))) == [1, 2, 3, 7]
    assert chosen_blocks(story(track(*range(12)))) == [1, 3, 5, 7, 9, 11]
    assert chosen_blocks(story(track(*range(7)))) == [0, 1, 2, 3, 4, 6]
    assert chosen_blocks(story(track())) == []


def test_between_its_stages_a_method_keeps_what_it_kept() -> None:
    one = track(1, 3)
    found = [(owners_after(one, block, EVERY) < 0).sum() for block in range(6)]
    assert found == [0, 1, 1, 2, 2, 2]


def test_a_sheet_says_what_is_left_and_what_is_predicted() -> None:
    sheet = sheet_of(story(track(1, 3), track(2, label="other", name="dog")))
    assert sheet.title == "image, labelled cat; unpruned: cat (91%)"
    first, second = sheet.rows
    assert (first.title, second.title) == ("run", "other")
    cost = "0.8 GMACs, 64% of the unpruned model's"
    assert first.text == f"cat (91%) -> cat (50%); {cost}"
    assert second.text == f"cat (91%) -> dog (50%); {cost}"
    assert (first.warning, second.warning) == (False, True)
    captions = ["input: 25 patch tokens", "after block 1: 24", "after block 2: 24"]
    assert [panel.caption for panel in first.panels] == [*captions, "after block 3: 23"]
    assert sheet.notes == ("Dimmed: dropped.",)
    assert sheet.scale is None
    assert sheet_of(story(track(1), label=None)).title == "image; unpruned: cat (91%)"


def test_panels_show_the_state_after_their_block() -> None:
    shown = story(track(1, 3))
    pixels = enlarged(shown.crop, 224)
    [row] = sheet_of(shown, [0, 2, 3]).rows
    states = [EVERY, *(moment.owners for moment in shown.tracks[0].moments)]
    for panel, owners in zip(row.panels[1:], states, strict=True):
        assert panel.pixels is not None
        assert np.array_equal(panel.pixels, survivors_picture(pixels, owners))
    assert row.panels[0].pixels is not None
    assert np.array_equal(row.panels[0].pixels, pixels)


def test_maps_stand_under_the_block_that_shows_what_came_of_them() -> None:
    sheet = sheet_of(story(track(1, 2, 4, maps=True)), [0, 2, 3, 5], overlay=True)
    survivors, importance = sheet.rows
    assert importance.title == "run: importance"
    captions = ["", "", "seen at block 2", "", "seen at block 4"]
    assert [panel.caption for panel in importance.panels] == captions
    assert [panel.pixels is not None for panel in importance.panels] == [c != "" for c in captions]
    assert len(survivors.panels) == len(importance.panels)
    assert sheet.scale == "rank of importance, from the least to the most important patch"
    assert len(sheet_of(story(track(1, 2)), overlay=True).rows) == 1


def test_the_legend_tells_of_merging_where_there_is_any() -> None:
    owners = EVERY.copy()
    owners[0, 1] = 0
    merged = replace(track(), moments=(StageTrace(1, owners, None),))
    assert sheet_of(story(merged)).notes == ("Outlined in one colour: merged into one token.",)
    both = sheet_of(story(merged, track(1)))
    assert both.notes == ("Dimmed: dropped. Outlined in one colour: merged into one token.",)
    assert sheet_of(story(track())).notes == ()


def test_a_model_is_watched_only_while_it_is_shown() -> None:
    source = source_of(tiny_vit())
    [picked] = source.pick(["0"])
    camera = TokenTracer(source, {"run": wanted("zero-tprune")})
    camera.trace(picked)
    assert camera.models["run"].watch is None


def test_watching_changes_nothing() -> None:
    model = tiny_vit()
    images = torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    reduced = keeprate.reduce(model, "zero-tprune", SCHEDULE)
    seen: list[tuple[int, int, int]] = []
    with torch.inference_mode():
        before = reduced(images)
        reduced.watch = lambda tokens, attention, stage: seen.append(
            (stage.block, tokens.num_patch_tokens, int(attention.weights.shape[-1]))
        )
        assert torch.equal(reduced(images), before)
    assert seen == [(0, 25, 26), (2, 18, 19), (3, 11, 12)]
