"""Which weights of a file reach a timm model as they are, and which timm changes on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import KeeprateError
from ..patch_grid import Grid, grid_of_positions
from .checkpoints import Shapes, differences, list_few
from .reasons import first_line

LOADING_ERRORS = (RuntimeError, KeyError, ValueError, AssertionError, AttributeError, OSError)
"""What timm and torch raise for weights that do not fit."""

_RELATIVE = "relative_position_bias_table"
_COMPUTED = ("relative_position_index", "rope")
"""Parts of the names of what a model computes from its grid: timm leaves such buffers out."""

_NAME = "name_in_file"


@dataclass(frozen=True)
class PositionTable:
    """A table of trained positions: a row for each patch, or for each of two patches' offsets.

    `made_for` is the grid of patches of its weights (None: nothing says which), `used_on` that of
    the model. Where they differ the table is resampled, also if they have as many patches.
    """

    name: str
    made_for: Grid | None
    used_on: Grid

    @property
    def is_resampled(self) -> bool:
        """Whether the model needs another table than the weights have."""
        return self.made_for != self.used_on


def position_tables(shapes: Shapes, own: nn.Module, asked: nn.Module) -> list[PositionTable]:
    """Return the tables of positions in weights of these `shapes`.

    `own` is the model at its own image size, `asked` the same at the size asked for.
    """
    own_grid, asked_grid = (_grid(model) for model in (own, asked))
    if own_grid is None or asked_grid is None:
        return []
    return [
        PositionTable(name, _made_for(name, shapes[name], weight, own_grid, asked_grid), asked_grid)
        for name, weight in own.state_dict().items()
        if name in shapes and _is_table(name, weight) and len(shapes[name]) == weight.dim()
    ]


@dataclass(frozen=True)
class WeightsVerdict:
    """Whether weights fit: why not ("" if they do), and what timm has left for `resample` to do."""

    reason: str
    left: tuple[PositionTable, ...] = ()


def judge(
    create: Callable[..., nn.Module],
    shapes: Shapes,
    expected: Shapes,
    tables: Sequence[PositionTable],
) -> WeightsVerdict:
    """Tell whether all weights of these `shapes` fit, apart from tables that are to be resampled.

    `create(state_dict=...)` makes the model without values, from such weights, and `expected` are
    its shapes. A weight fits if timm puts it into the model as it is; its name may be another.
    """
    resampled = {table.name for table in tables if table.is_resampled}
    try:
        lost, made = _changed(create, shapes)
    except LOADING_ERRORS as error:
        others = differences(_without(shapes, resampled), _without(expected, resampled))
        unknown = any(table.made_for is None for table in tables)
        return WeightsVerdict(others or ("" if unknown else first_line(error)))
    reason = differences(
        {name: shapes[name] for name in lost - resampled},
        {name: expected[name] for name in made - resampled},
    )
    # these have the shape they should have: a value that is changed, or should be and is not
    changed = sorted((lost | made) ^ resampled)
    if reason or not changed:
        return WeightsVerdict(reason)
    if changed == ["pos_embed"] and changed[0] in resampled:
        return WeightsVerdict("", tuple(table for table in tables if table.name == changed[0]))
    verb = "not resample" if resampled.issuperset(changed) else "change"
    return WeightsVerdict(f"timm {timm.__version__} would {verb} {list_few(changed)}")


def resample(model: nn.Module, tables: Sequence[PositionTable]) -> None:
    """Resample position embeddings, in place, to grids of as many patches as they were made for.

    timm goes by the number of patches where its description of the model does not say the grid.
    """
    for table in tables:
        assert table.made_for is not None
        positions = model.get_parameter(table.name)
        prefix = positions.shape[1] - math.prod(table.made_for)
        grids = [list(table.used_on), list(table.made_for)]
        with torch.no_grad():
            positions.copy_(resample_abs_pos_embed(positions, *grids, num_prefix_tokens=prefix))


def adaptations(tables: Sequence[PositionTable]) -> tuple[str, ...]:
    """Say which tables are resampled, a sentence for each grid they were made for."""
    names: dict[str, list[str]] = {}
    for table in tables:
        if table.is_resampled and table.made_for is not None:
            change = f"from {by(table.made_for)} to {by(table.used_on)} patches"
            names.setdefault(change, []).append(table.name)
    return tuple(
        f"For this image size: {list_few(names[change])} resampled {change}." for change in names
    )


def check_size(
    path: Path,
    shapes: Shapes,
    expected: Shapes,
    tables: Sequence[PositionTable],
    image_size: tuple[int, int] | None,
) -> None:
    """Refuse tables of positions that would be resampled unasked, or from a grid not known."""
    for table in tables:
        theirs, ours = shapes[table.name][-2], expected[table.name][-2]
        what = "position embeddings" if table.name == "pos_embed" else "relative positions"
        if image_size is None and table.is_resampled:
            raise KeeprateError(
                f"'{path}' has {theirs} {what}, the model has {ours}: it was made for another "
                "image size. Say which: --image-size PIXELS."
            )
        if table.made_for is None:
            raise KeeprateError(
                f"'{path}' has {theirs} {what}: neither a square nor the {by(table.used_on)} "
                "patches asked for. Name a folder that says more: --model local-dir:FOLDER."
            )


def by(sides: tuple[int, int]) -> str:
    """Return two sides as text: "14x14"."""
    return f"{sides[0]}x{sides[1]}"


class _Arrivals(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Keeps what is copied into which tensor.

    A tensor of a file has its name there as an attribute. A copy has it, too, but what is computed
    from a tensor does not.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.copied: list[tuple[Tensor, str | None]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Tensor, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.name() == "aten::copy_":
            self.copied.append((args[0], getattr(args[1], _NAME, None)))
        return func(*args, **(kwargs or {}))


def _changed(create: Callable[..., nn.Module], shapes: Shapes) -> tuple[set[str], set[str]]:
    """Return which weights of a file do not reach the model as they are, and which it then lacks.

    timm's own code loads tensors of these shapes that have no values.
    """
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    for name, tensor in state.items():
        setattr(tensor, _NAME, name)
    with _Arrivals() as arrivals:
        model = create(state_dict=state)
    origins = {id(target): name for target, name in arrivals.copied}
    own = {name: origins.get(id(w)) for name, w in model.state_dict(keep_vars=True).items()}
    lost = {name for name in shapes.keys() - own.values() if not _is_computed(name)}
    return lost, {name for name, origin in own.items() if origin is None}


def _is_computed(name: str) -> bool:
    return any(part in name for part in _COMPUTED)


def _is_table(name: str, weight: Tensor) -> bool:
    # a position embedding with rows and columns of its own (PiT, VOLO) shows its grid by its shape
    return (name == "pos_embed" and weight.dim() == 3) or name.endswith(_RELATIVE)


def _grid(model: nn.Module) -> Grid | None:
    return getattr(getattr(model, "patch_embed", None), "grid_size", None)


def _made_for(
    name: str, found: tuple[int, ...], weight: Tensor, own: Grid, asked: Grid
) -> Grid | None:
    """Return the grid that a table of the shape `found` was made for; the model has `weight`."""
    if not name.endswith(_RELATIVE):
        prefix = weight.shape[-2] - own[0] * own[1]
        return grid_of_positions(found[-2] - prefix, own, asked)
    spans = [(2 * rows - 1, 2 * columns - 1) for rows, columns in (own, asked)]
    prefix = weight.shape[-2] - spans[0][0] * spans[0][1]
    span = grid_of_positions(found[-2] - prefix, *spans)
    return span and ((span[0] + 1) // 2, (span[1] + 1) // 2)


def _without(shapes: Shapes, names: Collection[str]) -> Shapes:
    return {name: shape for name, shape in shapes.items() if name not in names}
