"""Axes: parameters with a list of values, and every combination of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, product
from typing import Any

from ..errors import KeeprateError, suggestion
from ..plugins.parameters import Parameter, parameters_of
from .problems import Problems
from .validate import refused
from .yaml_lines import KeyPath


def axes_of(
    cls: type[Any], values: Mapping[str, object], ledger: Problems, path: KeyPath
) -> dict[str, list[object]]:
    """Return the values of each parameter of an entry at `path`, a list of one where it has one."""
    parameters_by_name = {parameter.name: parameter for parameter in parameters_of(cls)}
    axes = {}
    for name, value in values.items():
        with ledger.at((*path, "parameters", name)):
            axis = axis_of(parameters_by_name[name], value)
            axes[name] = [value] if axis is None else axis
    return axes


def takes(
    kind: str,
    cls: type[Any],
    values: Mapping[str, object],
    axes: Mapping[str, Sequence[object]],
    ledger: Problems,
    path: KeyPath,
) -> bool:
    """Tell whether a `cls` takes these values of `axes`; note those that it refuses."""
    problems = refused(kind, cls, values)
    for name, message in problems:
        key_path = path if name is None else (*path, "parameters", name)
        # of several values, the problem belongs to the one that is refused
        if name is not None and len(axes[name]) > 1:
            key_path = (*key_path, axes[name].index(values[name]))
        ledger.add(key_path, message)
    return not problems


def axis_of(parameter: Parameter, value: object) -> list[object] | None:
    """Return the values that `value` lists for a parameter, None where it is a single one.

    A list is an axis. If the parameter's type is a tuple, only a list of lists is an axis, or a
    list of texts that each spell a tuple. Raises KeeprateError for an empty list.
    """
    if not isinstance(value, list):
        return None
    if "tuple[" not in parameter.annotation:
        if not value:
            raise KeeprateError("is an empty list. Give a value, or leave the parameter out.")
        return value
    holds_texts = "str" in parameter.annotation  # then a list of texts is one tuple
    spelled = [
        isinstance(item, list) or (isinstance(item, str) and not holds_texts) for item in value
    ]
    return value if any(spelled) else None


def combinations(
    axes: Mapping[str, Sequence[object]], zips: Sequence[Sequence[str]]
) -> list[dict[str, object]]:
    """Return every combination of the axes' values; the axes of a zip advance together.

    Raises KeeprateError as `choices` does.
    """
    # the parameters stay in the order of the file, whatever is zipped
    order = list(axes)
    return [
        dict(sorted(chain.from_iterable(row), key=lambda pair: order.index(pair[0])))
        for row in product(*choices(axes, zips))
    ]


def choices(
    axes: Mapping[str, Sequence[object]], zips: Sequence[Sequence[str]]
) -> list[list[list[tuple[str, object]]]]:
    """Return the rows of each zip, and of each other axis, that are combined with one another.

    Raises KeeprateError for a zip that names no axis, one twice, or axes of different lengths.
    """
    zipped = list(chain.from_iterable(zips))
    for name in zipped:
        if name not in axes:
            long_axes = [axis for axis, values in axes.items() if len(values) > 1]
            raise KeeprateError(
                f"zips '{name}', which lists no values under parameters. "
                f"{suggestion(name, long_axes)}"
            )
        if zipped.count(name) > 1:
            raise KeeprateError(f"names '{name}' twice. An axis advances with one zip.")
    groups = [*zips, *([name] for name in axes if name not in zipped)]
    return [_zip_rows(names, axes) for names in groups]


def too_many_runs(count: int, lengths: Mapping[str, int], most: int) -> str:
    """Say that a grid of axes of these lengths is too large, and which axis is at fault."""
    long_axes = {name: length for name, length in lengths.items() if length > 1}
    listed = ", ".join(f"{name} {length:,}" for name, length in long_axes.items())
    longest = max(lengths, key=lambda name: lengths[name])
    return (
        f"asks for {count:,} runs ({listed}), more than the {most:,} that a study may have. "
        f"Shorten {longest}, or allow more: --most-runs COUNT."
    )


def _zip_rows(
    names: Sequence[str], axes: Mapping[str, Sequence[object]]
) -> list[list[tuple[str, object]]]:
    """Return the values that the axes take together, as (name, value) pairs."""
    lengths = [len(axes[name]) for name in names]
    if len(set(lengths)) > 1:
        lengths_text = ", ".join(
            f"{name} {length}" for name, length in zip(names, lengths, strict=True)
        )
        raise KeeprateError(
            f"zips axes of different lengths ({lengths_text}). List equally many values."
        )
    rows = zip(*(axes[name] for name in names), strict=True)
    return [list(zip(names, row, strict=True)) for row in rows]
