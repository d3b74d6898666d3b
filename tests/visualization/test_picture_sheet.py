"""Sheets: every panel where it belongs, every text within its room."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from keeprate.visualization.sheet import Panel, Sheet, SheetRow, draw_sheet, png


def flat(colour: tuple[int, int, int], height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def drawn(sheet: Sheet) -> NDArray[np.uint8]:
    return np.asarray(draw_sheet(sheet))


def box_of(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[slice, slice]:
    """Where a colour is, which must fill a rectangle."""
    where = (picture == colour).all(axis=-1)
    rows, columns = np.nonzero(where.any(axis=1))[0], np.nonzero(where.any(axis=0))[0]
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    assert where[box].all()
    return box


def size(box: tuple[slice, slice]) -> tuple[int, int]:
    return box[0].stop - box[0].start, box[1].stop - box[1].start


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_panels_stand_side_by_side_and_rows_below_each_other() -> None:
    first = SheetRow("one", "", (Panel(flat(RED), "a"), Panel(flat(GREEN), "b")))
    second = SheetRow("two", "text", (Panel(None, "none"), Panel(flat(BLUE), "c")))
    picture = drawn(Sheet("title", (first, second)))
    red, green, blue = (box_of(picture, colour) for colour in (RED, GREEN, BLUE))
    assert size(red) == size(green) == size(blue) == (40, 60)
    assert red[0] == green[0]
    assert green[1] == blue[1]
    assert blue[0].start > green[0].stop
    assert green[1].start == red[1].stop + 8
    assert picture.shape[1] == 360 + 2 * 12
    below = picture[blue[0], red[1]]
    assert (below == 255).all()  # the empty panel


def test_every_text_is_written_somewhere() -> None:
    plain = drawn(Sheet("", (SheetRow("", "", (Panel(flat(RED), ""),)),)))
    assert ((plain == 255).all(axis=-1) | (plain == RED).all(axis=-1)).all()
    for sheet in (
        Sheet("title", (SheetRow("", "", (Panel(flat(RED), ""),)),)),
        Sheet("", (SheetRow("title", "", (Panel(flat(RED), ""),)),)),
        Sheet("", (SheetRow("", "", (Panel(flat(RED), "caption"),)),)),
        Sheet("", (SheetRow("", "", (Panel(flat(RED), ""),)),), notes=("note",)),
    ):
        assert (drawn(sheet) < 128).any(axis=-1).sum() > 40 * 60


def test_a_sheet_is_as_wide_as_its_panels() -> None:
    panels = (Panel(flat(RED, width=300), ""), Panel(flat(GREEN, width=200), ""))
    assert drawn(Sheet("", (SheetRow("", "", panels),))).shape[1] == 300 + 8 + 300 + 2 * 12


def test_a_warning_is_written_in_another_colour() -> None:
    def darkest(*, warning: bool) -> tuple[int, ...]:
        row = SheetRow("", "changed", (Panel(flat((255, 255, 255)), ""),), warning=warning)
        pixels = drawn(Sheet("", (row,))).reshape(-1, 3)
        return tuple(pixels[pixels.sum(axis=1).argmin()].tolist())

    assert darkest(warning=False) == (90, 90, 90)
    assert darkest(warning=True) == (178, 58, 0)


@pytest.mark.sample(1)
@pytest.mark.parametrize("text", ["a" * 300, "W" * 300, f"{'x' * 20} -> {'y' * 300}"])
def test_long_texts_end_in_their_room(text: str) -> None:
    rows = (SheetRow(text, text, (Panel(flat(RED), text), Panel(flat(GREEN), ""))),)
    picture = drawn(Sheet(text, rows, (text,), scale=text))
    assert (picture[:, -12:] == 255).all()
    red = box_of(picture, RED)
    under = picture[red[0].stop : red[0].stop + 24]
    assert (under[:, red[1].stop + 1 :] == 255).all()
    assert (under[:, red[1]] < 128).any()


def test_an_arrow_is_drawn_between_two_texts() -> None:
    def ink(text: str) -> NDArray[np.bool_]:
        picture = drawn(Sheet(text, (SheetRow("", "", (Panel(flat(RED, width=300), ""),)),)))
        return (picture[12:36] < 128).all(axis=-1)

    arrow, dashes = ink("->"), ink("--")
    assert arrow.any(axis=0).sum() >= 19  # as wide as the letters are high
    assert not np.array_equal(arrow, dashes)
    assert arrow.sum(axis=0).max() > arrow.any(axis=1).sum() // 2  # the tip


def test_letters_that_the_font_lacks_leave_no_boxes() -> None:
    def title(text: str) -> NDArray[np.uint8]:
        return drawn(Sheet(text, (SheetRow("", "", (Panel(flat(RED, width=300), ""),)),)))

    assert np.array_equal(title("caf\u00e9 \u72ac"), title("cafe "))


def test_the_scale_runs_from_violet_to_yellow() -> None:
    picture = drawn(
        Sheet("", (SheetRow("", "", (Panel(flat(RED, width=300), ""),)),), scale="rank")
    )
    rows, columns = np.nonzero((picture == (68, 1, 84)).all(axis=-1))
    bar = picture[rows[0], columns[0] : columns[0] + 120]
    assert tuple(bar[-1].tolist()) == (253, 231, 37)
    assert (np.diff(bar.astype(int).sum(axis=1)) >= -3).all()


def test_a_sheet_is_written_as_png() -> None:
    sheet = Sheet("title", (SheetRow("", "", (Panel(flat(RED), ""),)),))
    image = Image.open(io.BytesIO(png(sheet)))
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), drawn(sheet))
