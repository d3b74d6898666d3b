"""Parses a user's schedule into the one internal form: patch tokens kept at each stage.

Spellings (blocks count from 0):

- `keep=0.7@3,6,9`: the keep rate at these blocks; `keep=0.9,0.7,0.5@3,6,9` one rate each. The count
  after the k-th stage is the number of patches times the product of the rates so far, rounded down
  (at least 1), unless the method counts otherwise (`Method.kept_at_rate`). Without `@...` the
  method's own blocks are used, scaled with the depth.
- `r=13`: remove 13 patch tokens at every block; `r=16..0`: linearly from the first block to the
  last, each rounded down; `r=8,8,6,...`: one number per block.
- `depth=13`, `sqrt-depth=13`: remove 13 per block on average, growing with the block's number (from
  1) or its square root; the running total is rounded down.
- `137@3,96@6,67@9`: explicit counts after the stage, without what the method appends.
- the name of one of the method's presets, or METHOD:PRESET for the schedule of another method's.
- `@FILE`: what `keeprate search` has found, scaled to the model's depth and number of patches.

Some methods limit how many tokens they remove at once (`Method.most_removed`): the `r` and profile
forms then remove no more; a keep rate or count beyond the limit is an error. With a budget, the
numbers of a form only give its proportions and may be left out (`keep@3,6,9`, `r`, `depth`): the
free scale is the exponent of a keep rate, or the factor of a number of tokens, whose running total
is rounded down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import accumulate
from math import exp, floor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..costs import refuse_long_numbers
from ..errors import KeeprateError
from ..method import Method, Place, Stage
from .patch_count import PatchCount

if TYPE_CHECKING:
    from .schedule_file import ScheduleFile

PREFIX: Final = "@"
"""What the spelling of a schedule in a file begins with."""
_FREE_RATE = Fraction(exp(-1))
"""Keep rate of an open schedule; any rate below 1 would do, since a budget solves the exponent."""
_STAGGER = 1e-6
"""Added to running totals before rounding: as the scale grows, one block at a time removes more."""


@dataclass(frozen=True)
class Schedule:
    """A parsed schedule: `text` as the user wrote it, and how to turn it into stages.

    `form` is "keep", "remove", "count" or "share"; `values` are keep rates, removals per block,
    counts, or shares of all patch tokens; `blocks` is None if the method or the depth decides;
    `is_linear` says that two values are the ends of a line; `file` is that of "share".
    """

    text: str
    form: str
    values: tuple[Fraction, ...]
    blocks: tuple[int, ...] | None = None
    profile: Callable[[int], tuple[float, ...]] | None = None
    is_linear: bool = False
    file: ScheduleFile | None = None

    @property
    def is_open(self) -> bool:
        """Whether the schedule has no numbers and needs a budget."""
        return not self.values

    @property
    def is_scalable(self) -> bool:
        """Whether a budget can be solved with the schedule."""
        return self.form != "count"

    def note(self, patches: int, depth: int) -> str | None:
        """Return a sentence if it was found for another model than one with these sizes."""
        return None if self.file is None else self.file.note(self.text, patches, depth)

    def stages(
        self, method: Method, patches: int, depth: int, scale: float | None = None
    ) -> tuple[Stage, ...]:
        """Return the stages for `patches` patch tokens and `depth` blocks.

        `scale` is the free scale of a budget. Raises KeeprateError for blocks the model does not
        have, an open schedule without scale, or more removals than the method can make.
        """
        if self.is_open and scale is None:
            raise KeeprateError(f"Schedule '{self.text}' has no numbers: give a value or a budget.")
        if self.form == "remove":
            keeps = self._keeps_by_removal(method, patches, depth, scale)
            return tuple(Stage(block, keep, depth, block) for block, keep in enumerate(keeps))
        if self.file is not None:
            blocks, keeps = self.file.kept(method, patches, depth, scale)
        else:
            blocks = self._blocks(method, depth)
            keeps = self._keeps_by_rate(method, patches, blocks, scale)
        if scale is not None:  # the solver chose the counts, so they are limited, not refused
            keeps = _limit_removals(PatchCount(method, patches), blocks, keeps)
        pairs = enumerate(zip(blocks, keeps, strict=True))
        stages = tuple(Stage(block, keep, depth, number) for number, (block, keep) in pairs)
        self._check(method, patches, stages)
        return stages

    def _blocks(self, method: Method, depth: int) -> tuple[int, ...]:
        blocks = self.blocks if self.blocks is not None else scaled_blocks(method, depth)
        if any(block >= depth for block in blocks):
            raise KeeprateError(
                f"Schedule '{self.text}' names block {max(blocks)}, but the model's blocks are "
                f"0 to {depth - 1}."
            )
        return blocks

    def _keeps_by_rate(
        self, method: Method, patches: int, blocks: Sequence[int], scale: float | None
    ) -> list[int]:
        count = len(blocks)
        if self.form == "count":
            return [int(value) for value in self.values]
        rates = self.values or (_FREE_RATE,)
        rates = rates * count if len(rates) == 1 else rates
        if len(rates) != count:
            raise KeeprateError(
                f"Schedule '{self.text}' gives {len(rates)} keep rates for {count} blocks."
            )
        # products of fractions are exact: as floats, 0.29 * 100 would round down to 28
        products = accumulate(rates, lambda a, b: a * b)
        if scale is None:
            keeps = [max(1, floor(patches * product)) for product in products]
        else:
            keeps = [max(1, floor(patches * float(product) ** scale)) for product in products]
        powers = [float(rate) ** (1.0 if scale is None else scale) for rate in rates]
        return _keeps_of_method(PatchCount(method, patches), blocks, powers, keeps)

    def _keeps_by_removal(
        self, method: Method, patches: int, depth: int, scale: float | None
    ) -> list[int]:
        removals = self._removals(depth)
        if scale is not None or self.profile is not None:
            removals = _stagger_rounding(removals, 1.0 if scale is None else scale)
        keeps, counted = [], PatchCount(method, patches)
        for block, removal in enumerate(removals):
            left = counted.entering(block)
            keeps.append(left - min(floor(removal), method.most_removed(left)))
            counted.reduce(keeps[-1])
        return keeps

    def _removals(self, depth: int) -> Sequence[float]:
        if self.profile is not None:
            mean = float(self.values[0]) if self.values else 1.0
            return [mean * weight for weight in self.profile(depth)]
        values = [float(value) for value in self.values] or [1.0]
        if self.is_linear:
            return _linear_removals(self.values[0], self.values[1], depth)
        if len(values) not in (1, depth):
            raise KeeprateError(
                f"Schedule '{self.text}' gives {len(values)} removals for {depth} blocks."
            )
        return values * depth if len(values) == 1 else values

    def _check(self, method: Method, patches: int, stages: tuple[Stage, ...]) -> None:
        counted = PatchCount(method, patches)
        for stage in stages:
            left = counted.entering(stage.block)
            if not 1 <= stage.keep <= left:
                raise KeeprateError(
                    f"Schedule '{self.text}' keeps {stage.keep} patch tokens at block "
                    f"{stage.block}, where 1 to {left} are possible."
                )
            if left - stage.keep > method.most_removed(left):
                most = method.most_removed(left)
                raise KeeprateError(
                    f"Schedule '{self.text}' removes {left - stage.keep} of {left} patch tokens at "
                    f"block {stage.block}; method '{method.name}' can remove {most}."
                )
            counted.reduce(stage.keep)


def file_of(text: str) -> ScheduleFile:
    """Return the schedule of `@FILE`; KeeprateError for one that cannot be read or is damaged."""
    # imported here: its checks need pydantic, which is not everywhere that models run
    from .schedule_file import read_schedule

    return read_schedule(Path(text.removeprefix(PREFIX)).expanduser())


def parse_schedule(text: str) -> Schedule:
    """Parse one of the spellings that this module's docstring lists.

    Raises KeeprateError, with `text` and the list of spellings, if `text` is none of them.
    """
    if text.startswith(PREFIX):
        return Schedule(text, "share", (Fraction(1),), file=file_of(text))
    refuse_long_numbers(text)
    name, _, value = text.strip().partition("=")
    if re.fullmatch(r"\d+@\d+(,\d+@\d+)*", text.strip()):
        pairs = [part.split("@") for part in text.strip().split(",")]
        blocks = _check_ascending(text, [int(block) for _, block in pairs])
        return Schedule(text, "count", tuple(Fraction(keep) for keep, _ in pairs), blocks)
    if keep := _KEEP.fullmatch(text.strip()):
        return _keep_rates(text, keep[1] or "", keep[2] or "")
    if name in PROFILES and (not value or _NUMBER.fullmatch(value)):
        return Schedule(text, "remove", _fractions(value), profile=PROFILES[name])
    if name == "r" and re.fullmatch(r"|\d+\.\.\d+|\d+(,\d+)*", value):
        values = _fractions(value.replace("..", ","))
        return Schedule(text, "remove", values, is_linear=".." in value)
    raise _unknown_schedule(text)


def _keep_rates(text: str, rates: str, at: str) -> Schedule:
    values = _fractions(rates)
    if any(not 0 < value <= 1 for value in values):
        raise KeeprateError(f"Schedule '{text}': a keep rate is over 0 and at most 1.")
    blocks = _check_ascending(text, [int(block) for block in at.split(",")]) if at else None
    return Schedule(text, "keep", values, blocks)


def scaled_blocks(method: Method, depth: int) -> tuple[int, ...]:
    """Return the method's default blocks, scaled from 12 blocks to `depth` blocks.

    A method that acts after the block keeps the relative depth of the block's end, and never acts
    at the end of the first block; any other method keeps the relative depth of the block's start.
    """
    end = 1 if method.place is Place.AFTER_BLOCK else 0
    # + 0.5 rounds halves up; `round` would round them to even numbers
    blocks = (floor((block + end) * depth / 12 + 0.5) - end for block in method.default_blocks)
    return tuple(sorted({min(max(block, end), depth - 1) for block in blocks}))


def _linear_removals(first: Fraction, last: Fraction, depth: int) -> list[float]:
    steps = max(depth - 1, 1)  # a model of one block has no step
    return [floor(first + (last - first) * block / steps) for block in range(depth)]


def _stagger_rounding(removals: Sequence[float], scale: float) -> list[float]:
    totals = [floor(scale * total + _STAGGER) for total in accumulate(removals)]
    return [total - previous for previous, total in zip([0, *totals], totals, strict=False)]


def _limit_removals(counted: PatchCount, blocks: Sequence[int], keeps: Sequence[int]) -> list[int]:
    limited = []
    for block, keep in zip(blocks, keeps, strict=True):
        left = counted.entering(block)
        limited.append(min(left, max(keep, left - counted.method.most_removed(left))))
        counted.reduce(limited[-1])
    return limited


def _keeps_of_method(
    counted: PatchCount, blocks: Sequence[int], rates: Sequence[float], keeps: Sequence[int]
) -> list[int]:
    """Return `keeps`, but what the method counts itself as it counts."""
    own_keeps = []
    for block, rate, keep in zip(blocks, rates, keeps, strict=True):
        own = counted.method.kept_at_rate(counted.entering(block), rate)
        own_keeps.append(keep if own is None else own)
        counted.reduce(own_keeps[-1])
    return own_keeps


def _growing_weights(power: float, depth: int) -> tuple[float, ...]:
    """Return how much each block removes: its number (from 1) to a power, scaled to mean 1."""
    weights = [float(block + 1) ** power for block in range(depth)]
    return tuple(weight * depth / sum(weights) for weight in weights)


def _fractions(text: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(part) for part in text.split(",")) if text else ()


def _check_ascending(text: str, blocks: list[int]) -> tuple[int, ...]:
    if blocks != sorted(set(blocks)):
        raise KeeprateError(f"Schedule '{text}': blocks must ascend, each once.")
    return tuple(blocks)


def _unknown_schedule(text: str) -> KeeprateError:
    return KeeprateError(
        f"'{text}' is not a schedule. Write keep=0.7@3,6,9, r=13, r=16..0, r=8,8,6,... (one per "
        "block), depth=13, sqrt-depth=13, 137@3,96@6, or a preset of the method."
    )


_N = r"(?:\d+\.?\d*|\.\d+)"
_NUMBER = re.compile(_N)
_KEEP = re.compile(rf"keep(?:=({_N}(?:,{_N})*)?)?(?:@(\d+(?:,\d+)*))?")
PROFILES = {"depth": partial(_growing_weights, 1.0), "sqrt-depth": partial(_growing_weights, 0.5)}
