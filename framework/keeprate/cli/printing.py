"""Prints text that may hold names and values from anywhere."""

from __future__ import annotations

import click

from ..errors import escaped, printable


def echo(text: object = "", *, err: bool = False) -> None:
    """Print text, in which only line ends steer the terminal."""
    click.echo(printable(escaped(str(text)), keep="\n\t"), err=err)
