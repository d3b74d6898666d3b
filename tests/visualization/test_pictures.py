"""Pictures of one moment, pixel by pixel, on images of two by two patches."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from keeprate.visualization.colours import GROUP_COLOURS, edging, group_colours, heat, merged_groups
from keeprate.visualization.patch_pictures import enlarged, importance_picture, survivors_picture

ORANGE, BLUE = (230, 159, 0), (86, 180, 233)
VIOLET, YELLOW = (68, 1, 84), (253, 231, 37)


def four_patches(side: int = 4) -> NDArray[np.uint8]:
    """Black, red; green, white: one colour for each patch of `side` pixels."""
    colours = np.array([[(0, 0, 0), (200, 0, 0)], [(0, 100, 0), (255, 255, 255)]], dtype=np.uint8)
    return colours.repeat(side, axis=0).repeat(side, axis=1)


def owners(*rows: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array(rows)


def patches(picture: NDArray[np.uint8], side: int = 4) -> list[list[NDArray[np.uint8]]]:
    return [
        [picture[y : y + side, x : x + side] for x in range(0, picture.shape[1], side)]
        for y in range(0, picture.shape[0], side)
    ]


def only(patch: NDArray[np.uint8]) -> tuple[int, ...]:
    """The one colour of a patch."""
    [colour] = np.unique(patch.reshape(-1, 3), axis=0)
    return tuple(colour.tolist())


def test_patches_that_survive_alone_are_left_as_they_are() -> None:
    picture = survivors_picture(four_patches(), owners((1, 2), (3, 4)))
    assert np.array_equal(picture, four_patches())


def test_dropped_patches_are_dimmed_to_grey() -> None:
    picture = patches(survivors_picture(four_patches(), owners((-1, -1), (1, -1))))
    assert only(picture[0][0]) == (152, 152, 152)  # 0.2 * 0 + 0.8 * 190
    assert only(picture[0][1]) == (164, 164, 164)  # 0.2 * 60 + 152: red in grey is 60
    assert only(picture[1][0]) == (0, 100, 0)
    assert only(picture[1][1]) == (203, 203, 203)  # 0.2 * 255 + 152


def test_the_image_itself_is_not_drawn_on() -> None:
    image = four_patches()
    survivors_picture(image, owners((1, 1), (-1, 2)))
    importance_picture(image, np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert np.array_equal(image, four_patches())


def test_a_group_is_outlined_where_it_ends() -> None:
    picture = survivors_picture(four_patches(), owners((5, 5), (6, 7)))
    expected = four_patches()
    expected[0, :] = expected[3, :] = ORANGE  # above and below
    expected[:4, 0] = expected[:4, -1] = ORANGE  # its two ends, not the seam in the middle
    assert np.array_equal(picture, expected)


def test_a_group_in_two_pieces_is_outlined_around_each() -> None:
    picture = patches(survivors_picture(four_patches(), owners((5, 6), (7, 5))))
    for patch, inside in ((picture[0][0], (0, 0, 0)), (picture[1][1], (255, 255, 255))):
        frame = np.ones((4, 4), dtype=bool)
        frame[1:-1, 1:-1] = False
        assert (patch[frame] == ORANGE).all()
        assert (patch[~frame] == inside).all()
    assert only(picture[0][1]) == (200, 0, 0)
    assert only(picture[1][0]) == (0, 100, 0)


def test_groups_that_touch_have_different_colours() -> None:
    picture = survivors_picture(four_patches(), owners((5, 5), (6, 6)))
    assert (picture[0] == ORANGE).all()
    assert (picture[-1] == BLUE).all()


def test_lines_grow_with_the_patches() -> None:
    picture = survivors_picture(four_patches(24), owners((5, 5), (6, 7)))
    assert (picture[:3, 30] == ORANGE).all()
    assert (picture[3, 30] == (0, 0, 0)).all()  # the edge
    assert (picture[4, 30] == (200, 0, 0)).all()


def test_every_colour_is_edged_with_what_it_stands_out_from() -> None:
    dark = [colour for colour in GROUP_COLOURS if edging(colour) == (255, 255, 255)]
    assert dark == [(0, 114, 178), (0, 0, 0)]


def test_patches_need_not_be_square_nor_of_one_size() -> None:
    image = np.full((5, 12, 3), 80, dtype=np.uint8)
    picture = survivors_picture(image, owners((1, -1, 2), (3, 4, -1)))
    dimmed = (picture == 168).all(axis=-1)  # 0.2 * 80 + 152
    expected = np.zeros((5, 12), dtype=bool)
    expected[:2, 4:8] = expected[2:, 8:] = True
    assert np.array_equal(dimmed, expected)


def test_enlarging_repeats_pixels_a_whole_number_of_times() -> None:
    image = four_patches()
    large = enlarged(image, 30)  # 8 pixels: 4 times makes 32, 3 times 24
    assert large.shape == (32, 32, 3)
    assert np.array_equal(large[::4, ::4], image)
    assert np.array_equal(large[3::4, 3::4], image)
    assert np.array_equal(enlarged(image, 2), image)


def test_importance_is_drawn_by_rank() -> None:
    importance = np.array([[-5.0, 1.0], [np.nan, 4e9]])
    picture = patches(importance_picture(four_patches(), importance))
    assert only(picture[0][0]) == tuple(round(0.65 * channel) for channel in VIOLET)
    middle = (33, 145, 140)  # of viridis; the patch under it is red, grey 60
    assert only(picture[0][1]) == tuple(round(0.35 * 60 + 0.65 * c) for c in middle)
    assert only(picture[1][0]) == (164, 164, 164)  # green in grey is 59: dropped before
    assert only(picture[1][1]) == tuple(round(0.35 * 255 + 0.65 * c) for c in YELLOW)


@pytest.mark.parametrize(
    "importance", [np.full((2, 2), 0.25), np.array([[np.nan, 1], [np.nan] * 2])]
)
def test_equally_important_patches_have_one_colour(importance: NDArray[np.float64]) -> None:
    picture = importance_picture(np.zeros((4, 4, 3), dtype=np.uint8), importance)
    known = ~np.isnan(importance).repeat(2, axis=0).repeat(2, axis=1)
    assert only(picture[known][None]) == tuple(round(0.65 * c) for c in (33, 145, 140))


def test_infinities_rank_as_numbers_do() -> None:
    picture = importance_picture(
        np.zeros((2, 6, 3), dtype=np.uint8), np.array([[-np.inf, 0.0, np.inf]])
    )
    ends = [tuple(picture[0, column].tolist()) for column in (0, -1)]
    assert ends == [tuple(round(0.65 * c) for c in colour) for colour in (VIOLET, YELLOW)]


def test_nothing_left_to_rank_is_drawn_dimmed() -> None:
    picture = importance_picture(np.zeros((4, 4, 3), dtype=np.uint8), np.full((2, 2), np.nan))
    assert only(picture) == (152, 152, 152)


def test_lightness_of_the_heat_map_grows_evenly() -> None:
    colours = heat(np.linspace(0, 1, 101)) / 255.0
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    lightness = 116 * np.cbrt(np.maximum(luminance, 216 / 24389)) - 16  # CIE L*
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.mean()
    assert tuple(heat(np.array(-1.0))) == VIOLET
    assert tuple(heat(np.array(2.0))) == YELLOW


def test_groups_are_the_tokens_of_several_patches() -> None:
    assert merged_groups(owners((4, 4, -1), (-1, 7, 9), (9, 1, 2))) == [4, 9]


@pytest.mark.parametrize("seed", range(20))
def test_no_group_has_the_colour_of_one_it_touches(seed: int) -> None:
    """Groups as merging makes them: each patch joins a neighbour's group now and then."""
    generator = np.random.default_rng(seed)
    grid = np.arange(196).reshape(14, 14)
    for _ in range(150):
        row, column = generator.integers(0, 13, 2)
        down, across = [(0, 1), (1, 0), (1, 1)][generator.integers(3)]
        grid[grid == grid[row, column]] = grid[row + down, column + across]
    colours = group_colours(grid)
    assert len(colours) > 8
    assert set(colours.values()) <= set(GROUP_COLOURS)
    for row in range(14):
        for column in range(14):
            around = grid[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            for other in set(around.ravel().tolist()) - {int(grid[row, column])}:
                if other in colours and int(grid[row, column]) in colours:
                    assert colours[other] != colours[int(grid[row, column])]


def test_where_every_colour_touches_the_rarest_neighbour_is_repeated() -> None:
    centre = np.full((3, 24), 0)
    for group in range(1, 9):  # eight groups, all of which touch the ninth
        centre[0, 3 * group - 3 : 3 * group - 1] = group
    colours = group_colours(centre)
    assert len(set(colours.values())) >= 2
    assert all(colours[0] != colours[group] for group in range(1, 9))
    assert colours == group_colours(centre.copy())
