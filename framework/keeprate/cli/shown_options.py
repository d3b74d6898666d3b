"""Options that say which series are shown, and under which names, in reports and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TypeVar

import click

from ..analysis.shown_series import ShownSeries
from ..errors import KeeprateError

R = TypeVar("R")
_OPTIONS = (
    ("--method", "methods", "NAME", "Show only this method or series; repeatable; default: all."),
    ("--model", "models", "NAME", "Show only this model; repeatable; default: all."),
    ("--label", "labels", "NAME=LABEL", "Call a method or series LABEL; repeatable."),
    ("--order", "order", "NAME", "Put this series next, which fixes its colour; repeatable."),
    ("--colour", "colours", "NAME=#RRGGBB", "Draw a method or series in this colour; repeatable."),
)


def shown_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command these options; it gets them as the argument `shown`."""

    @wraps(command)
    def with_shown(
        *args: object,
        methods: tuple[str, ...],
        models: tuple[str, ...],
        labels: tuple[str, ...],
        order: tuple[str, ...],
        colours: tuple[str, ...],
        **others: object,
    ) -> R:
        shown = ShownSeries(
            methods, models, _pairs("--label", labels), order, _pairs("--colour", colours)
        )
        return command(*args, shown=shown, **others)

    wrapped: Callable[..., R] = with_shown
    for option, name, metavar, text in reversed(_OPTIONS):
        wrapped = click.option(option, name, metavar=metavar, multiple=True, help=text)(wrapped)
    return wrapped


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    # at the last "=": the name of a series may have some
    parts = [text.rpartition("=") for text in texts]
    for text, (name, _, value) in zip(texts, parts, strict=True):
        if not (name and value):
            raise KeeprateError(f"{option} {text}: write NAME=VALUE, as {option} tome=ToMe.")
    return {name: value for name, _, value in parts}
