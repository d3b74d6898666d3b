"""Parameters that take several values in a study: which they are, and their combinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, product

from ..errors import KeeprateError, suggestion
from ..plugins.parameters import Parameter


def axis_of(parameter: Parameter, value: object) -> list[object] | None:
    """Return the values that `value` lists for a parameter, None where it is a single one.

    A list is an axis. Where the parameter's type is a tuple, a list of lists is, or a list of texts
    that each spell a tuple. Raises KeeprateError for a list of nothing.
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
    """Return every combination of the axes' values; those of a zip advance together.

    Raises KeeprateError for a zip that names no axis, one twice, or axes of different lengths.
    """
    zipped = list(chain.from_iterable(zips))
    for name in zipped:
        if name not in axes:
            several = [axis for axis, values in axes.items() if len(values) > 1]
            raise KeeprateError(
                f"zips '{name}', which lists no values under parameters. "
                f"{suggestion(name, several)}"
            )
        if zipped.count(name) > 1:
            raise KeeprateError(f"names '{name}' twice. An axis advances with one zip.")
    groups = [*zips, *([name] for name in axes if name not in zipped)]
    choices = [_rows(names, axes) for names in groups]
    order = list(axes)
    return [
        dict(sorted(chain.from_iterable(row), key=lambda pair: order.index(pair[0])))
        for row in product(*choices)
    ]


def _rows(
    names: Sequence[str], axes: Mapping[str, Sequence[object]]
) -> list[list[tuple[str, object]]]:
    """The values that axes take together, as (name, value) pairs."""
    lengths = [len(axes[name]) for name in names]
    if len(set(lengths)) > 1:
        told = ", ".join(f"{name} {length}" for name, length in zip(names, lengths, strict=True))
        raise KeeprateError(f"zips axes of different lengths ({told}). List equally many values.")
    rows = zip(*(axes[name] for name in names), strict=True)
    return [list(zip(names, row, strict=True)) for row in rows]
