"""A folder of class folders gets the labels of the model, or is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from class_folder_factory import labels, make, refusal
from keeprate_datasets.folders import ClassFolders
from keeprate_datasets.image_folder import ImageFolder
from keeprate_datasets.imagenet import ImageNet
from paths import SHARED

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

PHOTOS = SHARED / "data/imagenet-sample/val"


def test_wordnet_ids_get_the_index_of_timms_table(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "n15075141/a.png", "n01440764/b.png", "n01443537/deep/c.PNG"))
    data.bind(1000, None)
    assert labels(data) == {
        "n01440764/b.png": 0,
        "n01443537/deep/c.PNG": 1,
        "n15075141/a.png": 999,
    }


def test_numbered_folders_are_class_indices(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "10/a.png", "2/b.png", "0/c.png"))
    data.bind(1000, None)
    assert labels(data) == {"0/c.png": 0, "10/a.png": 10, "2/b.png": 2}


def test_image_and_fingerprint_are_those_of_the_files(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "n01440764/a.png", "n01443537/b.png"))
    data.bind(1000, None)
    assert data.image(1).shape == (3, 3, 5)
    assert torch.equal(data.image(1)[0], torch.ones(3, 5, dtype=torch.uint8))
    before, path = data.fingerprint(), tmp_path / "n01443537/b.png"
    path.write_bytes(b"x" * path.stat().st_size)
    assert data.fingerprint() != before
    assert data.bad_samples() == {"n01443537/b.png": "not an image"}


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "n01440764/a.png", "n01440764/._a.png", ".cache/b.png"))
    (tmp_path / "n01440764/notes.txt").write_text("no image")
    (tmp_path / "labels.csv").write_text("no folder")
    data.bind(1000, None)
    assert list(labels(data)) == ["n01440764/a.png"]


def test_another_head_than_imagenets_is_refused(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "n01440764/a.png"))
    assert "needs a model with 1000 classes, this one has 10." in refusal(data, 10)
    assert "names its 1000 classes, but not by the WordNet ids" in refusal(data, 1000, ["a"] * 1000)


def test_an_unknown_wordnet_folder_is_named(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "n01440764/a.png", "n01440765/a.png"))
    assert refusal(data, 1000) == (
        f"Class folder 'n01440765' in '{tmp_path}' is not a WordNet id of ImageNet-1k. "
        "Did you mean 'n01440764'? For classes of your own use the data set 'image-folder'."
    )


def test_the_folder_inside_is_suggested(tmp_path: Path) -> None:
    make(tmp_path, "photos/n01440764/a.png", "others/n01440764/a.png")
    assert f"Did you mean the folder '{tmp_path}/others'?" in refusal(ImageNet(tmp_path), 1000)


def test_a_class_index_outside_the_head_is_refused(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "1/a.png", "1000/a.png"))
    assert "'1000'" in refusal(data, 1000)
    assert "is outside the head: class indices are 0 to 999" in refusal(data, 1000)


@pytest.mark.parametrize("kind", [ImageNet, ImageFolder])
def test_a_root_without_images_is_refused(kind: type[ClassFolders], tmp_path: Path) -> None:
    def of(root: Path) -> ClassFolders:
        return kind(root)  # type: ignore[call-arg]

    (tmp_path / "empty").mkdir()
    make(tmp_path, "flat/a.png", "bare/n01440764/")
    classes = 1000 if kind is ImageNet else 1
    assert refusal(of(tmp_path / "gone"), classes).startswith(f"No folder '{tmp_path}/gone'.")
    assert "is a file" in refusal(of(tmp_path / "flat/a.png"), classes)
    assert "is empty" in refusal(of(tmp_path / "empty"), classes)
    assert refusal(of(tmp_path / "flat"), classes).startswith("No class folders in")
    assert refusal(of(tmp_path / "bare"), classes).startswith("No images in the class folders of")


def test_as_many_folders_as_classes_are_taken_in_order(tmp_path: Path) -> None:
    data = ImageFolder(make(tmp_path, "dog/a.jpg", "cat/b.jpg"))
    data.bind(2, None)
    assert labels(data) == {"cat/b.jpg": 0, "dog/a.jpg": 1}


@pytest.mark.parametrize("names", [("2", "10"), ("b", "B1", "a", "A1"), ("Zebra", "ant")])
def test_an_order_that_depends_on_the_library_is_refused(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    data = ImageFolder(make(tmp_path, *(f"{name}/a.png" for name in names)))
    assert refusal(data, len(names)).startswith("The order of the class folders is not certain")


def test_the_models_own_names_decide(tmp_path: Path) -> None:
    data = ImageFolder(make(tmp_path, "dog/a.jpg", "cat/b.jpg"))
    data.bind(3, ["eel", "dog", "cat"])
    assert labels(data) == {"cat/b.jpg": 2, "dog/a.jpg": 1}


def test_a_folder_the_model_does_not_name_is_refused(tmp_path: Path) -> None:
    data = ImageFolder(make(tmp_path, "dog/a.jpg", "catt/b.jpg"))
    assert refusal(data, 2, ["cat", "dog"]).startswith(
        "Class folder 'catt' is not a label name of the model. Did you mean 'cat'?"
    )


def test_the_labels_file_decides(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("eel\ndog\ncat\n\n")
    data = ImageFolder(make(tmp_path / "images", "dog/a.jpg", "cat/b.jpg"), labels=file)
    data.bind(3, ["cat", "dog", "eel"])
    assert labels(data) == {"cat/b.jpg": 2, "dog/a.jpg": 1}


def test_a_labels_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    data = ImageFolder(make(tmp_path / "images", "dog/a.jpg", "cat/b.jpg"), labels=file)
    assert refusal(data, 2).startswith(f"Cannot read '{file}'")
    file.write_text("dog\ncat\neel\n")
    assert "has 3 lines, the model 2 classes" in refusal(data, 2)
    file.write_text("dog\ndog\n")
    assert "names 'dog' more than once" in refusal(data, 2)
    file.write_text("dog\nhorse\n")
    assert "Class folder 'cat' is not a line of" in refusal(data, 2)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "  \n\n", "\n \t\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_labels_file_is_read_as_any_editor_saves_it(
    ending: str, encoding: str, tmp_path: Path
) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(ending.join(["eel", "dög", "cat", ""]).encode(encoding))
    data = ImageFolder(make(tmp_path / "images", "dög/a.jpg", "cat/b.jpg", "eel/c.jpg"), file)
    data.bind(3, None)
    assert labels(data) == {"cat/b.jpg": 2, "dög/a.jpg": 1, "eel/c.jpg": 0}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_labels_file_in_another_encoding_is_refused(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("dög\ncat\n".encode(encoding))
    data = ImageFolder(make(tmp_path / "images", "dog/a.jpg", "cat/b.jpg"), file)
    assert refusal(data, 2).endswith("is not UTF-8 text. Save it as UTF-8.")


def test_a_folder_with_the_name_of_several_classes_is_refused(tmp_path: Path) -> None:
    data = ImageFolder(make(tmp_path, "bee/a.jpg", "cat/b.jpg"))
    assert refusal(data, 4, ["ant", "bee", "cat", "bee"]) == (
        "Class folder 'bee' is ambiguous: classes 1, 3 of the model have this name. List a folder "
        "name for each class, in the order of the model's outputs, in a file: labels=FILE."
    )
    data.bind(4, ["ant", "ant", "cat", "bee"])  # no folder has the name given twice
    assert labels(data) == {"bee/a.jpg": 3, "cat/b.jpg": 2}


def test_another_number_of_folders_is_refused(tmp_path: Path) -> None:
    data = ImageFolder(make(tmp_path, "dog/a.jpg", "cat/b.jpg"))
    assert refusal(data, 3).startswith("2 class folders, but the model has 3 classes. List the")


def test_labels_are_not_guessed_before_bind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="bind"):
        ImageFolder(make(tmp_path, "dog/a.jpg")).samples()


@pytest.mark.skipif(not PHOTOS.exists(), reason="the sample photographs are not here")
def test_the_sample_of_imagenet_is_whole() -> None:
    data = ImageNet(PHOTOS)
    data.bind(1000, None)
    assert len(data.samples()) == len({sample.label for sample in data.samples()}) == 500
    assert data.bad_samples() == {}
