"""The pictures that a report opens with: of which images, when, and what is in them."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from disagreement_factory import RUNS, digits_store, index_of, texts_store
from keeprate.analysis.build import findings_of
from keeprate.analysis.sections.disagreement_ranking import disagreements
from keeprate.errors import KeeprateError
from keeprate.plugins.registry import registry
from keeprate.request import Cost, Request
from keeprate.results.store import Store
from keeprate.study.comparison import MethodAtCost
from keeprate.visualization import opening_pictures
from keeprate.visualization.alike_runs import spread
from keeprate.visualization.disagreement_pictures import Drawn
from keeprate.visualization.end_pictures import described_end, end_owners, end_pictures
from keeprate.visualization.opening_pictures import draw_opening
from keeprate.visualization.token_tracks import (
    ImageTrace,
    MethodTrace,
    Prediction,
    StageTrace,
    TokenTracer,
)
from picture_factory import source_of
from references.tiny import tiny_vit
from run_factory import request

REQUEST = request()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods at 40 % and one at 60 %, with the pictures that are drawn at the end."""
    folder = tmp_path_factory.mktemp("made") / "store"
    digits_store(folder)
    assert drawn(folder) is not None
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Store:
    shutil.copytree(made, tmp_path / "store")
    return Store(tmp_path / "store")


def drawn(folder: Path, *, anew: bool = True, asked: Request = REQUEST) -> Drawn | None:
    ids = [result.id for result in Store(folder).results()[0]]
    return draw_opening(asked, folder, ids if anew else [], ids)


def test_the_four_images_that_runs_differ_on_most_are_drawn(store: Store) -> None:
    [group] = index_of(store.folder / "pictures").groups
    assert (group.budget, group.labels) == ("40%", ("class-attention", "random", "tome"))
    assert [each.id for each in group.samples] == disagreements(store, group.runs, 4)
    assert {path.name for path in (store.folder / "pictures").glob("*.png")} == group.files()
    assert len(group.files()) == 4 * (1 + 1 + 3)


def test_a_picture_says_what_is_left_of_the_patches(store: Store) -> None:
    [group] = index_of(store.folder / "pictures").groups
    for sample in group.samples:
        pruned, random, merged = (guess.end for guess in sample.predictions)
        assert pruned is not None
        assert random is not None
        assert merged is not None
        for end in (pruned, random):
            assert (end.patches, end.merged) == (64, 0)
            assert 0 < end.tokens == 64 - end.dropped < 64
        assert (merged.patches, merged.dropped) == (64, 0)
        assert merged.merged >= 64 - merged.tokens > 0
        assert sample.unpruned.end is None


def test_how_alike_the_runs_are_is_found_out_with_the_pictures(store: Store) -> None:
    found = findings_of(store).groups[0].alike
    assert found is not None
    assert (found.labels, found.images) == (("class-attention", "random", "tome"), 16)
    by_rank, ranked_and_merged, dropped_and_merged = found.pairs
    assert (by_rank.first, by_rank.second) == ("class-attention", "random")
    assert by_rank.kept is not None
    assert by_rank.kept_by_chance is not None
    assert abs(by_rank.kept - by_rank.kept_by_chance) < 0.2
    # one drops, the other merges; tome has no scores
    assert ranked_and_merged.grouping is None
    assert dropped_and_merged.scores is None


def test_images_that_go_through_a_run_together_end_as_they_do_alone() -> None:
    source = source_of(tiny_vit())
    images = source.pick([f"noise/{number}" for number in range(3)])
    runs = {"class-attention": "18@1,9@2", "tome": "r=3", "zero-tprune": "18@1,9@2", "full": None}
    wanted = {
        name: MethodAtCost(registry().method(name)(), Cost(schedule, None))
        for name, schedule in runs.items()
    }
    tracer = TokenTracer(source, wanted)
    together = tracer.reductions(images)
    for place, image in enumerate(images):
        for track, reductions in zip(tracer.trace(image).tracks, together, strict=True):
            trace = ImageTrace("", None, image.crop, tracer.grid, track.prediction, (track,))
            assert (reductions.owners[place].numpy() == end_owners(trace, track).ravel()).all()
            first = track.moments[0].importance if track.moments else None
            assert (first is None) == (reductions.scores is None)
            if first is not None and reductions.scores is not None:
                assert reductions.scores[place].numpy() == pytest.approx(first.ravel())


def test_images_to_compare_on_are_spread_over_all() -> None:
    assert spread(list("abcdefghij"), 3) == ["b", "f", "i"]
    assert spread(["a", "b"], 16) == ["a", "b"]
    assert spread([], 16) == spread(["a"], 0) == spread(["a"], -3) == []


def test_findings_have_the_pictures(store: Store) -> None:
    found = findings_of(store).groups[0].disagreement
    assert found is not None
    shown = [sample for sample in found.samples if sample.input_picture]
    assert len(shown) == 4
    assert found.samples[:4] == tuple(shown)
    for sample in shown:
        paths = [
            sample.input_picture,
            *(guess.end.picture for guess in sample.guesses if guess.end),
        ]
        assert len(paths) == 4
        assert all(Path(path).is_file() for path in paths)
    Path(shown[1].input_picture).unlink()
    found = findings_of(store).groups[0].disagreement
    assert found is not None
    assert [bool(sample.input_picture) for sample in found.samples[:4]] == [True, False, True, True]


def stop(*arguments: object) -> None:
    raise KeeprateError("drawing")


def test_pictures_stay_where_nothing_was_computed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_pictures, "draw", stop)
    assert drawn(store.folder, anew=False) is None
    with pytest.raises(KeeprateError, match="drawing"):
        drawn(store.folder)
    [group] = index_of(store.folder / "pictures").groups
    end = group.samples[0].predictions[0].end
    assert end is not None
    (store.folder / "pictures" / end.file).unlink()
    with pytest.raises(KeeprateError, match="drawing"):
        drawn(store.folder, anew=False)


def test_pictures_that_would_take_long_are_not_drawn(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = sum(r.measured.macs.total for r in store.results()[0] if r.run.budget == "40%")
    spent = 4 * (spent + store.results()[0][0].measured.macs.unpruned)
    monkeypatch.setattr(opening_pictures, "draw", stop)
    monkeypatch.setattr(opening_pictures, "MOST_MACS", spent)
    with pytest.raises(KeeprateError, match="drawing"):
        drawn(store.folder)
    monkeypatch.setattr(opening_pictures, "MOST_MACS", spent - 1)
    with pytest.raises(KeeprateError, match=r"^4 images would take .* TMACs, more than .* draws"):
        drawn(store.folder)


def test_texts_and_single_runs_have_no_pictures(tmp_path: Path) -> None:
    assert drawn(texts_store(tmp_path / "texts").folder) is None
    assert drawn(digits_store(tmp_path / "one", RUNS[:1]).folder) is None
    assert not (tmp_path / "one/pictures").exists()


def trace_of(crop: np.ndarray, *owners: np.ndarray) -> ImageTrace:
    said = Prediction("3", 1.0, 3)
    moments = tuple(StageTrace(block, each, None) for block, each in enumerate(owners))
    track = MethodTrace("one", moments, said, 1, 1.0)
    return ImageTrace("image", "3", crop, (2, 2), said, (track,))


def test_small_images_are_enlarged_and_stay_sharp() -> None:
    crop = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    suffix, (whole, _) = end_pictures(trace_of(crop))
    with Image.open(io.BytesIO(whole)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert suffix == ".png"
    assert np.array_equal(pixels, crop.repeat(56, axis=0).repeat(56, axis=1))


def test_photographs_are_small_files_of_the_size_of_a_panel() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (448, 336, 3), dtype=np.uint8)
    suffix, contents = end_pictures(trace_of(crop))
    assert suffix == ".webp"
    for content in contents:
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.format, picture.size) == ("WEBP", (168, 224))


def test_the_last_stage_is_what_is_shown() -> None:
    crop = np.full((4, 4, 3), 255, dtype=np.uint8)
    _, (_, kept) = end_pictures(trace_of(crop))
    _, (_, pruned) = end_pictures(
        trace_of(crop, np.array([[0, 1], [2, -1]]), np.array([[0, -1], [2, -1]]))
    )
    shares = []
    for content in (kept, pruned):
        with Image.open(io.BytesIO(content)) as picture:
            shares.append((np.asarray(picture.convert("L")) == 255).mean())
    assert shares == [1.0, 0.5]


def test_patches_are_counted() -> None:
    end = described_end(np.array([[0, 0, -1], [3, 4, 4], [-1, 4, 8]]), "a.png")
    assert (end.patches, end.tokens, end.dropped, end.merged) == (9, 4, 2, 5)
