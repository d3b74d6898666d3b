"""The data set of corrupted images: what it changes and passes on, and what makes it itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from image_folder_factory import GIVEN, Folder, equal, images, prepare
from keeprate import DataSet, KeeprateError, Sample
from keeprate.data.images import build_transform
from keeprate.data.named import named_data_set
from keeprate.plugins.code.code_hash import source_sha256
from keeprate.plugins.nested_data import data_source, parameters_and_places, paths_of, with_inner
from keeprate.plugins.parameters import build, spec_text, values_of
from keeprate.visualization.image_selection import ImageSource
from keeprate_datasets.corrupted import Corrupted
from keeprate_datasets.corruptions import corrupt
from keeprate_datasets.digits import Digits
from keeprate_datasets.image_folder import ImageFolder
from picture_factory import source_of

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


class Told(DataSet):
    """Has something to say of its one image, which it darkens itself."""

    name = "told"

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        raise KeeprateError(f"bound to {num_classes} {label_names}")

    def samples(self) -> list[Sample]:
        return [Sample("only", 3)]

    def image(self, index: int) -> Tensor:
        return torch.full((3, 250, 300), 90, dtype=torch.uint8)

    def seen(self, index: int, image: Tensor) -> Tensor:
        return image // 2

    def bad_samples(self) -> dict[str, str]:
        return {"only": "spoilt"}

    def notes(self) -> list[str]:
        return ["noted"]

    def classifier(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def content(self, index: int) -> str:
        return "grey"


def made(text: str) -> Corrupted:
    data = named_data_set(text)
    assert isinstance(data, Corrupted)
    return data


def told(text: str) -> str:
    with pytest.raises(KeeprateError) as caught:
        named_data_set(text)
    return str(caught.value)


def test_the_size_of_the_benchmark_is_corrupted_as_it_is() -> None:
    crop = torch.arange(3 * 224 * 230).reshape(3, 224, 230).remainder(251).to(torch.uint8)
    data = Corrupted(Digits(), "gaussian-noise", 4)
    pixels = crop.permute(1, 2, 0).numpy()
    expected = corrupt(pixels, "gaussian-noise", 4, data.samples()[7].id)
    assert torch.equal(data.seen(7, crop), torch.from_numpy(expected).permute(2, 0, 1))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 64), (448, 500)])
def test_other_sizes_come_back_in_their_own(height: int, width: int) -> None:
    grey = torch.full((3, height, width), 100, dtype=torch.uint8)
    found = Corrupted(Digits(), "brightness", 2).seen(0, grey)
    assert found.shape == grey.shape
    assert set(found.flatten().tolist()) == {151}  # 100 + 0.2 * 255


def test_everything_else_is_that_of_the_data_set_inside() -> None:
    inside = Told()
    data = Corrupted(inside, "contrast", 1)
    assert data.samples() == inside.samples()
    assert torch.equal(data.image(0), inside.image(0))
    assert (data.bad_samples(), data.notes(), data.content(0)) == (
        {"only": "spoilt"},
        ["noted"],
        "grey",
    )
    assert isinstance(data.classifier(), torch.nn.Identity)
    with pytest.raises(KeeprateError, match=r"bound to 7 \['a'\]"):
        data.bind(7, ["a"])
    # what that one makes of its images comes first: one colour has no contrast to lose
    assert set(data.seen(0, inside.image(0)).flatten().tolist()) == {45}


def test_kind_severity_and_images_make_the_fingerprint_and_places_do_not(
    root: Path, tmp_path: Path
) -> None:
    data = [
        Digits(),
        Corrupted(Digits(), "jpeg", 3),
        Corrupted(Digits(), "jpeg", 4),
        Corrupted(Digits(), "contrast", 3),
        Corrupted(Told(), "jpeg", 3),
    ]
    assert len({each.fingerprint() for each in data}) == 5
    moved = tmp_path / "moved"
    here = Folder(root)
    first = Corrupted(here, "jpeg").fingerprint()
    assert here.decoded == []  # known by its files alone
    root.rename(moved)
    assert Corrupted(Folder(moved), "jpeg").fingerprint() == first


def test_the_kept_images_are_clean_and_give_the_same(root: Path, tmp_path: Path) -> None:
    data = Corrupted(Folder(root), "gaussian-noise", 5)
    plain, cache = images(prepare(data, None)), tmp_path / "cache"
    clean = images(prepare(Folder(root), cache))
    for _ in range(2):
        assert equal(images(prepare(data, cache)), plain)
    assert not equal(plain, clean)
    assert equal(images(prepare(Folder(root), cache)), clean)
    assert len(list(cache.glob("*.uint8"))) == 2


def test_a_model_is_given_what_is_seen(root: Path) -> None:
    data, transform = Corrupted(Folder(root), "occlusion", 5), build_transform(GIVEN)
    crop = transform.crop(data.image(3))
    assert torch.equal(images(prepare(data, None, [3]))[0], transform.finish(data.seen(3, crop)))
    assert not torch.equal(data.seen(3, crop), crop)


def test_pictures_show_the_corrupted_image() -> None:
    plain = source_of(Digits().classifier())
    data = Corrupted(Digits(), "contrast", 5)
    (shown,) = ImageSource(plain.loaded, plain.backbone, data).pick(["0"])
    (clean,) = ImageSource(plain.loaded, plain.backbone, Digits()).pick(["0"])
    assert shown.id == clean.id
    assert shown.crop.std() < clean.crop.std() / 10
    assert not torch.equal(shown.inputs, clean.inputs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "corrupted:digits,kind=gausian-noise",
            "Data set 'corrupted': kind must be one of gaussian-noise, shot-noise, defocus-blur, "
            "motion-blur, jpeg, brightness, contrast, pixelate, occlusion, not 'gausian-noise'. "
            "Did you mean 'gaussian-noise'?",
        ),
        (
            "corrupted:digits,kind=jpeg,severity=6",
            "Data set 'corrupted': severity must be one of 1, 2, 3, 4, 5, not '6'.",
        ),
        (
            "corrupted:imagnet,kind=jpeg",
            "Data set 'corrupted': No data set 'imagnet'. Did you mean 'imagenet'?",
        ),
        (
            "corrupted:imagenet,kind=jpeg",
            "Data set 'corrupted': Data set 'imagenet' needs root: write imagenet:root=....",
        ),
        (
            "corrupted:text-file:a.csv,kind=jpeg",
            "Data set 'corrupted': data 'text-file' has texts, and images are corrupted.",
        ),
        (
            'corrupted:"corrupted:digits,kind=jpeg",kind=contrast',
            "Data set 'corrupted': data is corrupted already: name the data set inside it.",
        ),
        (
            "corrupted:digits",
            "Data set 'corrupted' needs kind: write corrupted:kind=....",
        ),
    ],
)
def test_what_cannot_be_corrupted_is_told(text: str, message: str) -> None:
    assert told(text) == message


def test_the_data_set_inside_has_its_parameters_in_quotes() -> None:
    data = made('corrupted:"image-folder:photos,labels=names.txt",kind=jpeg,severity=2')
    inside = data.data
    assert isinstance(inside, ImageFolder)
    assert (inside.root, inside.labels) == (Path("photos"), Path("names.txt"))
    values = values_of(data)
    assert values == {
        "data": "image-folder:root=photos,labels=names.txt",
        "kind": "jpeg",
        "severity": 2,
    }
    for again in (build("data set", Corrupted, values), made(spec_text("corrupted", values))):
        assert values_of(again) == values
    assert data.title == "corrupted (image-folder, jpeg 2)"


def test_where_the_data_set_inside_lies_is_kept_apart() -> None:
    data = made("corrupted:image-folder:photos,kind=jpeg")
    assert parameters_and_places(data) == (
        {"data": "image-folder:labels=None", "kind": "jpeg", "severity": 3},
        {"data": "image-folder:root=photos,labels=None"},
    )
    assert list(paths_of(data)) == [("data=image-folder:root", Path("photos"), True)]
    assert parameters_and_places(made("corrupted:digits,kind=jpeg"))[1] == {}
    assert parameters_and_places(ImageFolder(Path("photos"))) == (
        {"labels": None},
        {"root": "photos"},
    )


def test_the_code_of_the_data_set_inside_counts() -> None:
    data = Corrupted(Folder(Path()), "jpeg")
    assert [type(each) for each in with_inner(data)] == [Corrupted, Folder]
    assert data_source(data) == source_sha256(Corrupted) + source_sha256(Folder)
