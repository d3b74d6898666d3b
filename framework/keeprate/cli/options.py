"""Options that every command takes, before its name or after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from traceback import print_exception
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import click

from ..request import MOST_PIXELS
from .printing import echo

if TYPE_CHECKING:
    from ..plugins.discovery import BrokenPlugin

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Settings:
    """The values of the shared options, wherever on the command line they stand.

    `pictures` is that of the commands that run a study.
    """

    files: list[Path] = field(default_factory=list)
    strict: bool = False
    traceback: bool = False
    pictures: bool = True


def settings() -> Settings:
    """Return the settings of the command that is running."""
    return click.get_current_context().find_root().ensure_object(Settings)


def shared_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add --plugin, --strict-plugins and --traceback to a command or a group of commands."""
    # decorators apply from the last to the first: reversed, the help keeps this order
    for option in reversed(
        (
            click.option(
                "--plugin",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                metavar="FILE.py",
                multiple=True,
                expose_value=False,
                callback=_take_files,
                help="Also load this plugin file; may be given several times.",
            ),
            click.option(
                "--strict-plugins",
                is_flag=True,
                expose_value=False,
                callback=_take_strict,
                help="Stop if a plugin fails to load.",
            ),
            click.option(
                "--traceback",
                is_flag=True,
                expose_value=False,
                callback=_take_traceback,
                help="Show where an error comes from.",
            ),
        )
    ):
        command = option(command)
    return command


def plugin_options(command: Callable[P, R]) -> Callable[P, R]:
    """Give a subcommand the shared options and load the plugins before it runs.

    Goes between `@click.command()` and the function. Inside the command,
    `keeprate.plugins.registry.registry()` holds the plugins that the options name. A plugin that
    fails to load is named once on stderr.
    """

    @wraps(command)
    def with_plugins(*args: P.args, **kwargs: P.kwargs) -> R:
        # imported here, so that --help does not wait for plugins
        from ..plugins.registry import activate, load

        shared = settings()
        activate(load(shared.files, strict=shared.strict, on_broken=_warn))
        return command(*args, **kwargs)

    return shared_options(with_plugins)


def pictures_option(command: Callable[P, R]) -> Callable[P, R]:
    """Add --no-pictures to a command that runs a study."""
    return click.option(
        "--pictures/--no-pictures",
        default=True,
        show_default=True,
        expose_value=False,
        callback=_take_pictures,
        help="Draw the images on which methods differ most.",
    )(command)


class ImageSize(click.ParamType[tuple[int, int]]):
    """Pixels of an image: a side, or HEIGHTxWIDTH; gives (height, width)."""

    name = "pixels"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read the text into (height, width); a tuple is already read."""
        if isinstance(value, tuple):
            return value
        height, separator, width = str(value).partition("x")
        sides = (height, width if separator else height)
        if not all(re.fullmatch(r"\d{1,18}", side) and int(side) > 0 for side in sides):
            self.fail(f"'{value}' is not a number of pixels, as 384, nor HEIGHTxWIDTH, as 384x288.")
        if max(int(side) for side in sides) > MOST_PIXELS:
            self.fail(f"'{value}' is more than {MOST_PIXELS} pixels.")
        return int(sides[0]), int(sides[1])


class Number(click.ParamType[float | str]):
    """A number; any other text stays as it is, for the specification to judge."""

    name = "number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        """Read the text of a number, as an int if it is whole."""
        for kind in (int, float):
            try:
                return kind(str(value))
            except ValueError:
                continue
        return str(value)


INPUT_OPTIONS: Final = (
    click.option("--mean", metavar="R,G,B", help="Of images, 0 to 1; default: the model's own."),
    click.option("--std", metavar="R,G,B", help="Likewise, standard deviation."),
    click.option("--interpolation", metavar="NAME", help="Likewise: nearest, bilinear, bicubic."),
    click.option("--crop-pct", type=Number(), metavar="SHARE", help="Likewise, share cut out."),
)
"""How images are prepared, in place of what the model says; the specification judges the values."""


def _warn(broken: BrokenPlugin) -> None:
    echo(f"Warning: plugin {broken}", err=True)
    if settings().traceback:
        print_exception(broken.error)


def _take_files(context: click.Context, option: click.Parameter, files: tuple[Path, ...]) -> None:
    # added to those given before the command's name, as are the flags below
    context.find_root().ensure_object(Settings).files.extend(files)


def _take_strict(context: click.Context, option: click.Parameter, is_set: bool) -> None:
    context.find_root().ensure_object(Settings).strict |= is_set


def _take_traceback(context: click.Context, option: click.Parameter, is_set: bool) -> None:
    context.find_root().ensure_object(Settings).traceback |= is_set


def _take_pictures(context: click.Context, option: click.Parameter, is_set: bool) -> None:
    context.find_root().ensure_object(Settings).pictures = is_set
