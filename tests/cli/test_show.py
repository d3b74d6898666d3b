"""`keeprate show`: on the data set that ships, on files, and what it says of mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from keeprate.cli import keeprate
from keeprate.data.named import build_data
from keeprate.request import DataSpec
from keeprate.visualization.patch_pictures import enlarged

pytestmark = pytest.mark.usefixtures("own_folder", "own_registry")

WIDTH = 224
DIGITS = ("--data", "digits")


def show(*arguments: str | Path) -> Result:
    return CliRunner().invoke(keeprate, ["show", *map(str, arguments)])


def error(*arguments: str | Path) -> str:
    done = show(*arguments)
    assert done.exit_code == 2, done.output
    return done.stderr.removeprefix("Error: ").rstrip()


def size(path: str | Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_samples_are_named_by_id_or_place() -> None:
    done = show(
        "0", "test/0018", *DIGITS, "--method", "tome", "--method", "random", "--budget", "50%"
    )
    assert done.exit_code == 0, done.output
    assert done.output == "runs/pictures/test-0000.png\nruns/pictures/test-0018.png\n"
    assert size("runs/pictures/test-0000.png")[0] == 7 * (WIDTH + 8) - 8 + 24


def test_without_a_method_all_that_fit_are_drawn() -> None:
    tall = show("0", *DIGITS, "--output", "all")
    one = show("0", *DIGITS, "--output", "one", "--method", "tome")
    assert (tall.exit_code, one.exit_code) == (0, 0), tall.output
    rows = size("all/test-0000.png")[1] / size("one/test-0000.png")[1]
    assert rows > 4


def test_what_survives_is_what_was_there() -> None:
    """A kept patch is in the picture as it is in the image, a dropped one is not."""
    done = show(
        "0", *DIGITS, "--method", "class-attention", "--schedule", "20@5", "--blocks", "5,4"
    )
    assert done.exit_code == 0, done.output
    picture = np.asarray(Image.open("runs/pictures/test-0000.png"))
    digit = build_data(DataSpec("digits")).image(0).permute(1, 2, 0).numpy()
    image = enlarged(digit, WIDTH)
    [top] = [y for y in range(200) if np.array_equal(picture[y : y + WIDTH, 12:236], image)]
    for column, kept in ((1, 64), (2, 20)):
        left = 12 + column * (WIDTH + 8)
        panel = picture[top : top + WIDTH, left : left + WIDTH]
        same = (panel == image).reshape(8, 28, 8, 28, 3).all(axis=(1, 3, 4))
        assert same.sum() == kept


def test_an_overlay_adds_rows_of_methods_that_rank() -> None:
    methods = ("--method", "tome", "--method", "zero-tprune")
    assert show("0", *DIGITS, *methods, "--output", "plain").exit_code == 0
    assert show("0", *DIGITS, *methods, "--overlay", "--output", "maps").exit_code == 0
    higher = size("maps/test-0000.png")[1] - size("plain/test-0000.png")[1]
    assert WIDTH < higher < 1.5 * WIDTH


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Random weights of a real model, and an image that is not square."""
    folder = tmp_path_factory.mktemp("files")
    weights = folder / "weights.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), weights)
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    for name in ("a/lynx.jpg", "b/lynx.png"):
        Image.fromarray(noise).save(folder / name)
    return weights, folder


def test_files_are_drawn_under_names_of_their_own(tiny: tuple[Path, Path]) -> None:
    weights, folder = tiny
    model = ("--model", "vit_tiny_patch16_224", "--weights", weights, "--method", "zero-tprune")
    images = folder / "a/lynx.jpg", folder / "b/lynx.png"
    done = show(*images, *model, "--schedule", "paper-deit-s")
    assert done.exit_code == 0, done.output
    assert done.output == "runs/pictures/lynx.png\nruns/pictures/lynx-2.png\n"


def test_images_need_not_be_square(tiny: tuple[Path, Path]) -> None:
    weights, folder = tiny
    model = ("--model", "vit_tiny_patch16_224", "--weights", weights, "--image-size", "96x160")
    done = show(folder / "a/lynx.jpg", *model, "--method", "tome", "--blocks", "0,11")
    assert done.exit_code == 0, done.output
    assert size("runs/pictures/lynx.png")[0] == 3 * (160 + 8) - 8 + 24


def test_mistakes_are_said_in_one_line(tiny: tuple[Path, Path]) -> None:
    model = ("--model", "vit_tiny_patch16_224", "--weights", tiny[0])
    assert error("none.jpg", *model) == (
        "No image file 'none.jpg'. To name samples of a data set, add --data NAME."
    )
    assert error("600", *DIGITS).startswith(
        "Data set 'digits' has no sample '600': give an id, as 'test/"
    )
    assert error("0", *DIGITS, "--blocks", "3,12") == (
        "--blocks names block 12, but the model's blocks are 0 to 11."
    )
    assert error("0", *DIGITS, "--method", "tom") == "No method 'tom'. Did you mean 'tome'?"
    assert error("0", *DIGITS, "--method", "full") == (
        "Method 'full' reduces nothing: drop schedule and budget."
    )
    assert (
        error("0", *DIGITS, "--weights", tiny[0]) == "--weights and --image-size need --model NAME."
    )
    assert error("0", *DIGITS, "--std", "0.5") == "--model: std goes with a model's name."
    assert error("0", *model, "--crop-pct", "90") == (
        "--crop-pct: must be less than or equal to 1, not 90."
    )
    (tiny[1] / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    assert error(tiny[1] / "broken.jpg", *model, "--method", "tome").startswith(
        f"Cannot read the image '{tiny[1] / 'broken.jpg'}': "
    )
    Path("file").touch()
    said = error("0", *DIGITS, "--method", "tome", "--output", "file/below")
    assert said.startswith("Cannot write to file/below: ")
    assert (
        "'1,b' is not a list of whole numbers, as 1,3,5."
        in show("0", *DIGITS, "--blocks", "1,b").stderr
    )
    assert "Missing argument 'IMAGE...'" in show().stderr


def test_samples_of_a_data_set_that_is_named(tiny: tuple[Path, Path]) -> None:
    weights, folder = tiny
    (folder / "val/n01440764").mkdir(parents=True, exist_ok=True)
    pixels = torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()
    Image.fromarray(pixels).save(folder / "val/n01440764/fish.JPEG")
    options = ("--model", "vit_tiny_patch16_224", "--weights", weights)
    data = ("--data", f"imagenet:{folder / 'val'}", "--method", "tome")
    done = show("0", "n01440764/fish.JPEG", *options, *data)
    assert done.exit_code == 0, done.output
    assert done.output == "runs/pictures/n01440764-fish.JPEG.png\n"  # the same image, drawn once
