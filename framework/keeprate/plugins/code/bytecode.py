"""What compiled functions name: the variables, attributes, modules and texts in them."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType


def outer_variables(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield the variables of its module that a function reads: names and present values."""
    for name in read_by(function.__code__, "LOAD_GLOBAL", "LOAD_NAME"):
        if name in function.__globals__:
            yield name, function.__globals__[name]


@lru_cache(maxsize=4096)
def read_by(code: CodeType, *operations: str) -> frozenset[str]:
    """Return the names that these operations of a function, and of those inside it, have."""
    steps = dis.get_instructions(code)
    names = frozenset(step.argval for step in steps if step.opname in operations and step.argval)
    return names.union(*(read_by(inner, *operations) for inner in _codes_in(code)))


@lru_cache(maxsize=4096)
def imports_of(code: CodeType) -> frozenset[tuple[str, int]]:
    """Return the name and the level (0 = absolute) of each import that a function runs."""
    steps = list(dis.get_instructions(code))
    # the level and the names that are wanted are put on the stack before
    found = {
        (step.argval, steps[i - 2].argval)
        for i, step in enumerate(steps)
        if step.opname == "IMPORT_NAME"
    }
    return frozenset(found).union(*(imports_of(inner) for inner in _codes_in(code)))


def all_names(code: CodeType) -> set[str]:
    """Return the names of all variables, attributes and modules of a function."""
    return set(code.co_names).union(*(all_names(inner) for inner in _codes_in(code)))


def texts(code: CodeType) -> Iterator[str]:
    """Yield the constants of a function, and of those inside it, that are texts."""
    yield from (constant for constant in code.co_consts if isinstance(constant, str))
    for inner in _codes_in(code):
        yield from texts(inner)


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, CodeType))
