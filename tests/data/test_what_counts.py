"""Which folders and files count: each image once, no class that is none, and the rest is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from class_folder_factory import labels, make, refusal
from keeprate_datasets.folders import ClassFolders
from keeprate_datasets.image_folder import ImageFolder
from keeprate_datasets.imagenet import ImageNet

NAMES = ["ant", "bee", "cat"]


def ids(root: Path) -> list[str]:
    """Ids of the samples below a root, for a model that names its classes."""
    return list(labels(bound(ImageFolder(root))))


def bound(data: ClassFolders) -> ClassFolders:
    data.bind(len(NAMES), NAMES)
    return data


def notes(root: Path) -> str:
    return " ".join(bound(ImageFolder(root)).notes())


@pytest.mark.parametrize(
    "parts",
    [
        ("train", "val"),
        ("Train", "VALID", "test"),
        ("training", "validation"),
        ("fold1", "fold_2", "Fold-3"),
        ("train2017", "val2017", "extra"),
        ("train_set", "test_set"),
        ("trainval", "test"),
        ("1_fold", "2fold"),
        ("fold1.0", "fold1.1"),
        ("imagenet-train", "imagenet-val"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_val"),
        ("set1", "subset2"),
        ("tr", "te"),
    ],
)
def test_parts_of_a_data_set_are_no_classes(parts: tuple[str, ...], tmp_path: Path) -> None:
    make(tmp_path, *(f"{part}/{name}/a.png" for part in parts for name in ("ant", "bee")))
    said = refusal(ImageFolder(tmp_path), len(parts))
    assert "holds parts of a data set" in said
    assert said.endswith("labels=FILE.")


def test_the_part_for_validation_is_suggested_under_any_name(tmp_path: Path) -> None:
    make(tmp_path, *(f"imagenet-{part}/{name}/a.png" for part in ("train", "val") for name in "ab"))
    assert f"mean the folder '{tmp_path}/imagenet-val'?" in refusal(ImageFolder(tmp_path), 2)


def test_the_part_for_validation_is_suggested_whatever_the_data_set(tmp_path: Path) -> None:
    make(tmp_path, "train/n01440764/a.png", "val/n01440764/a.png", "val/a.png", "val/n1/b.png")
    said = "holds parts of a data set ('train', 'val'), each with class folders, and no classes. "
    said += f"Did you mean the folder '{tmp_path}/val'?"
    assert said in refusal(ImageNet(tmp_path), 1000)
    assert said in refusal(ImageFolder(tmp_path), 2)
    assert said in refusal(ImageFolder(tmp_path), 2, ["tench", "goldfish"])


@pytest.mark.parametrize(
    "files",
    [
        ("test/a.png", "train/a.png"),
        ("bus/old/a.png", "bus/new/a.png", "train/old/a.png", "train/new/a.png"),
        ("test/a.png", "test/b.png", "test/deep/c.png", "train/a.png", "train/b.png"),
        ("bus-tram/old/a.png", "bus-tram/new/a.png", "bus-train/old/a.png", "bus-train/new/a.png"),
        ("freight train/a/a.png", "passenger train/a/a.png"),
    ],
)
def test_a_class_may_be_called_train(files: tuple[str, ...], tmp_path: Path) -> None:
    data = ImageFolder(make(tmp_path, *files))
    data.bind(2, None)
    assert list(labels(data)) == sorted(files)


def test_a_labels_file_makes_classes_of_what_looks_like_parts(tmp_path: Path) -> None:
    make(tmp_path / "d", "test/fast/a.png", "train/fast/a.png")
    (tmp_path / "labels.txt").write_text("train\ntest\n")
    data = ImageFolder(tmp_path / "d", labels=tmp_path / "labels.txt")
    data.bind(2, None)
    assert labels(data) == {"test/fast/a.png": 1, "train/fast/a.png": 0}


@pytest.mark.parametrize(
    "name",
    [
        *("__MACOSX", "__pycache__", "lost+found", "@eaDir", "$RECYCLE.BIN", ".Trash-1000"),
        *("System Volume Information", "RECYCLER", "Network Trash Folder", "@tmp"),
    ],
)
def test_what_systems_leave_behind_is_no_class(name: str, tmp_path: Path) -> None:
    data = ImageFolder(make(tmp_path, "ant/a.png", "bee/b.png", f"{name}/c.png"))
    assert refusal(data, 3).startswith("2 class folders, but the model has 3 classes.")
    assert f"Passed over: hidden, or left by a system: 1 ({name})" in refusal(data, 3)
    data.bind(2, None)
    assert list(labels(data)) == ["ant/a.png", "bee/b.png"]


def test_a_folder_without_a_readable_image_does_not_stand_in_for_a_class(tmp_path: Path) -> None:
    make(tmp_path, "ant/a.png", "bee/b.png", "cat/")
    said = f"Class folder 'cat' in '{tmp_path}' has no image that can be read"
    assert f"{said} (it holds none)" in refusal(ImageFolder(tmp_path), 3)
    (tmp_path / "cat/c.png").write_bytes(b"no image")
    assert f"{said} (c.png: " in refusal(ImageFolder(tmp_path), 3)
    (tmp_path / "cat/c.png").unlink()
    (tmp_path / "cat").rmdir()
    (tmp_path / "cat").symlink_to(tmp_path / "gone")
    assert said in refusal(ImageFolder(tmp_path), 3)
    assert ids(tmp_path) == ["ant/a.png", "bee/b.png"]
    assert notes(tmp_path) == (
        "Passed over: link that leads nowhere: 1 (cat). Class folders without an image: 1 (cat)."
    )


def test_hidden_names_do_not_count_at_any_depth(tmp_path: Path) -> None:
    hidden = [".ipynb_checkpoints/0.png", ".thumbnails/1.png", "@eaDir/2.png", "._3.png"]
    make(tmp_path, "ant/a.png", "ant/deep/b.png", *(f"ant/deep/{name}" for name in hidden))
    assert ids(tmp_path) == ["ant/a.png", "ant/deep/b.png"]
    assert notes(tmp_path) == (
        "Passed over: hidden, or left by a system: 4 (ant/deep/._3.png, ...)."
    )


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "deep"])
def test_a_link_in_a_circle_is_not_followed(target: str, tmp_path: Path) -> None:
    make(tmp_path / "d", "ant/a.png", "ant/deep/b.png", "bee/c.png")
    place = tmp_path / "d/ant" / ("deep/again" if target == "deep" else "again")
    place.symlink_to(place.parent if target == "deep" else target)
    assert ids(tmp_path / "d") == ["ant/a.png", "ant/deep/b.png", "bee/c.png"]
    assert "link in a circle: 1 (ant/" in notes(tmp_path / "d")


def test_links_to_folders_elsewhere_make_a_subset(tmp_path: Path) -> None:
    make(tmp_path / "all", "x/a.png", "x/b.png", "y/c.png")
    make(tmp_path / "d", "bee/d.png")
    (tmp_path / "d/ant").symlink_to(tmp_path / "all/x")
    (tmp_path / "d/bee/more").symlink_to("../../all/y")
    (tmp_path / "d/bee/e.png").symlink_to("../../all/x/a.png")
    assert ids(tmp_path / "d") == [
        *("ant/a.png", "ant/b.png"),
        *("bee/d.png", "bee/e.png", "bee/more/c.png"),
    ]
    assert notes(tmp_path / "d") == (
        "Images that count in two classes: 1 (bee/e.png, the file of ant/a.png)."
    )


def test_a_file_counts_once_in_a_class_under_the_name_without_a_link(tmp_path: Path) -> None:
    make(tmp_path, "ant/b.png", "ant/deep/c.png")
    (tmp_path / "ant/a.png").symlink_to("b.png")
    os.link(tmp_path / "ant/b.png", tmp_path / "ant/d.png")
    (tmp_path / "ant/a-link").symlink_to("deep")
    assert ids(tmp_path) == ["ant/b.png", "ant/deep/c.png"]
    assert notes(tmp_path) == (
        "Passed over: file that the class has already: 2 (ant/a.png, ...); "
        "folder that the class has already: 1 (ant/a-link)."
    )


def test_classes_that_link_to_each_other_are_told_and_end(tmp_path: Path) -> None:
    make(tmp_path, "ant/a.png", "bee/b.png")
    (tmp_path / "ant/other").symlink_to("../bee")
    (tmp_path / "bee/other").symlink_to("../ant")
    assert ids(tmp_path) == ["ant/a.png", "ant/other/b.png", "bee/b.png", "bee/other/a.png"]
    assert "Images that count in two classes: 2 (" in notes(tmp_path)
    assert "link in a circle: 2 (ant/other/other, ...)" in notes(tmp_path)


def test_one_folder_under_two_class_names_is_told(tmp_path: Path) -> None:
    make(tmp_path / "all", "x/a.png", "x/b.png")
    (tmp_path / "d").mkdir()
    for name in ("ant", "bee"):
        (tmp_path / "d" / name).symlink_to(tmp_path / "all/x")
    assert notes(tmp_path / "d") == (
        "Images that count in two classes: 2 (bee/a.png, the file of ant/a.png, ...)."
    )


def test_files_that_are_not_read_are_told_by_their_ending(tmp_path: Path) -> None:
    make(tmp_path, "ant/a.png", "bee/1.heic", "bee/2.HEIC", "bee/3.avif", "bee/4", "loose.png")
    os.mkfifo(tmp_path / "ant/pipe.png")
    assert ids(tmp_path) == ["ant/a.png"]
    assert notes(tmp_path) == (
        "Passed over: ending in .avif: 1 (bee/3.avif); ending in .heic: 2 (bee/1.heic, ...); "
        "image in no class folder: 1 (loose.png); neither a file nor a folder: 1 (ant/pipe.png); "
        "without an ending: 1 (bee/4). Class folders without an image: 1 (bee)."
    )


@pytest.mark.parametrize("target", ["gone.png", "x.png"])
def test_an_image_that_is_a_link_to_nowhere_is_a_bad_sample(target: str, tmp_path: Path) -> None:
    make(tmp_path, "ant/a.png")
    (tmp_path / "ant/x.png").symlink_to(target)
    data = bound(ImageFolder(tmp_path))
    assert list(data.bad_samples()) == ["ant/x.png"]
    assert len(data.fingerprint()) == 64


def test_names_that_are_not_utf8_are_escaped_in_ids(tmp_path: Path) -> None:
    make(tmp_path, "ant/a.png", "old/b.png")
    os.rename(tmp_path / "ant/a.png", os.fsencode(tmp_path) + b"/ant/caf\xe9.png")
    os.rename(tmp_path / "old", os.fsencode(tmp_path) + b"/bi\xe8re")
    data = ImageFolder(tmp_path)
    data.bind(2, None)
    assert list(labels(data)) == ["ant/caf\\xe9.png", "bi\\xe8re/b.png"]
    assert data.bad_samples() == {}
    assert data.image(0).shape == (3, 3, 4)
    assert data.content(1).is_file()


def test_numbers_from_1_are_not_taken_for_class_indices(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "1/a.png", "2/b.png", "3/"))
    assert refusal(data, 1000).startswith(f"Folders 1 to 3 in '{tmp_path}' may be numbers of")
    make(tmp_path, "0/")
    data.bind(1000, None)
    assert labels(data) == {"1/a.png": 1, "2/b.png": 2}
    assert data.notes() == ["Class folders without an image: 2 (0, ...)."]


def test_numbers_without_0_are_told(tmp_path: Path) -> None:
    data = ImageNet(make(tmp_path, "5/a.png", "7/b.png"))
    data.bind(1000, None)
    assert labels(data) == {"5/a.png": 5, "7/b.png": 7}
    (note,) = data.notes()
    assert note.startswith("No folder of")
    assert "class indices from 0" in note
