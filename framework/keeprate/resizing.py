"""Methods that make a model's input smaller: fewer pixels, or larger patches."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

from .errors import KeeprateError
from .method import Method

Grid: TypeAlias = tuple[int, int]
"""Rows and columns of patches."""

AUTO, NONE = "auto", "none"

_GRID = re.compile(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?")


@dataclass(frozen=True)
class InputSize:
    """The sizes at which a model runs, of its images and its patches: (height, width) in pixels."""

    image: tuple[int, int]
    patch: tuple[int, int]

    @property
    def grid(self) -> Grid:
        """Rows and columns of patches."""
        return self.image[0] // self.patch[0], self.image[1] // self.patch[1]


class InputMethod(Method):
    """A method that has the model run on fewer patches from its first block on.

    It implements `at`. `grid` says on how many rows and columns, "12" or "12x11"; "auto" solves it
    for the budget, among the grids that keep the sides in proportion. `then` names the method that
    reduces the tokens of a grid that is given, as `--method` does; schedule and budget are then
    that method's, and a share is one of the whole model. Raises KeeprateError for a grid that is
    none, and for `then` without a grid.
    """

    def __init__(self, grid: str = AUTO, then: str = NONE) -> None:
        self.grid = grid
        self.then = then
        self.rows_and_columns = None if grid == AUTO else _parsed(grid)
        if self.reduces_after and self.rows_and_columns is None:
            raise KeeprateError(f"then={then} reduces a grid that is given: write grid=12 as well.")

    @property
    def reduces_after(self) -> bool:
        """Whether another method reduces the tokens that are left."""
        return self.then != NONE

    @abstractmethod
    def at(self, own: InputSize, grid: Grid) -> InputSize | None:
        """Return the sizes that make a grid of a model's `own` sizes, None if none do."""

    def sizes(self, own: InputSize) -> list[InputSize]:
        """Return the sizes that a budget is solved among: the model's own, then ever fewer patches.

        From one grid to the next the side that has lost less loses a row or a column, of equal ones
        a column: 14 x 14, 14 x 13, 13 x 13, 13 x 12 and so on. Grids that nothing makes are left
        out.
        """
        rows, columns = own.grid
        found = []
        while rows and columns:
            found.append(self.at(own, (rows, columns)))
            if rows * own.grid[1] > columns * own.grid[0]:
                rows -= 1
            else:
                columns -= 1
        return [size for size in found if size is not None]

    def size(self, own: InputSize) -> InputSize:
        """Return the sizes for the grid that is given; KeeprateError if it is impossible."""
        assert self.rows_and_columns is not None
        (rows, columns), most = self.rows_and_columns, own.grid
        found = None
        if rows <= most[0] and columns <= most[1]:
            found = self.at(own, (rows, columns))
        if found is None:
            nearest = ", ".join(f"{size.grid[0]}x{size.grid[1]}" for size in self.sizes(own)[:6])
            raise KeeprateError(
                f"Method '{self.name}' cannot run the model, whose grid is {most[0]}x{most[1]} "
                f"patches of {own.patch[0]}x{own.patch[1]} pixels, on {rows}x{columns}. "
                f"Possible are {nearest}, for example."
            )
        return found


def _parsed(text: str) -> Grid:
    match = _GRID.fullmatch(text)
    if match is None:
        raise KeeprateError(
            f"grid must be rows and columns, as 12x11 or 12, or {AUTO}, not '{text}'."
        )
    rows, columns = match.groups()
    return int(rows), int(columns or rows)
