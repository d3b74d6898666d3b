"""The `keeprate` command: its subcommands are imported only when they run."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from traceback import print_exception
from typing import Any

import click

from .. import __version__
from ..errors import KeeprateError, escaped, refuse_unwritable
from .options import settings, shared_options


@dataclass(frozen=True)
class CommandEntry:
    """A subcommand that is not imported yet: its module, its name there, and its line of help."""

    module: str
    name: str
    help: str


COMMANDS = {
    "compare": CommandEntry(
        "compare", "compare", "Run methods on a model and a data set; write a report."
    ),
    "run": CommandEntry("run", "run", "Run a study: a grid of methods, models and data sets."),
    "search": CommandEntry(
        "search", "search", "Search for a method's best schedule at a cost; confirm it."
    ),
    "report": CommandEntry("report", "report", "Write reports of results already there."),
    "runs": CommandEntry("runs", "runs", "List, show, remove and merge finished runs."),
    "show": CommandEntry("show", "show", "Draw which patches survive, stage by stage."),
    "convergence": CommandEntry(
        "convergence", "convergence", "Study how a method's ranking converges as it iterates."
    ),
    "macs": CommandEntry("macs", "macs", "Count a model's multiply-accumulates, part by part."),
    "speed": CommandEntry(
        "speed", "speed", "Measure how fast methods run beside the unpruned model."
    ),
    "check": CommandEntry("check", "check", "Try what is promised of every method on yours."),
    "check-backbone": CommandEntry(
        "check_backbone", "check_backbone", "Prove that a model is reduced right."
    ),
    "new": CommandEntry("new", "new", "Begin a method, data set, backbone or report of your own."),
    "plugins": CommandEntry(
        "plugins", "plugins", "Show where plugins come from and what is wrong."
    ),
    "list": CommandEntry(
        "list", "list_", "Show methods, data sets, studies and all else that has a name."
    ),
}


class LazyGroup(click.Group):
    """A group that lists its commands without importing them, and prints errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command of this name, or return None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        entry = COMMANDS[cmd_name]
        command: object = getattr(import_module(f".commands.{entry.module}", __name__), entry.name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.name} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; one that is not UTF-8 ends the command."""
        try:
            refuse_unwritable(args)
        except KeeprateError as error:
            click.echo(f"Error: {error}", err=True)
            raise click.exceptions.Exit(2) from error
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a user's mistake ends it with status 2, any other error with 1."""
        try:
            return super().invoke(ctx)
        # click itself ends with these in one line, and with the right status
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeeprateError as error:
            _fail(f"Error: {error}", 2, error)
        # anything else is a mistake in keeprate or in a plugin: also one line, but another status
        except Exception as error:
            kind = type(error).__name__
            message = " ".join(str(error).split())
            hint = "Run again with --traceback to see where."
            _fail(
                f"Error: {kind}: {message} ({hint})" if message else f"Error: {kind} ({hint})",
                1,
                error,
            )


def _fail(message: str, status: int, error: Exception) -> None:
    """Print a message of one line, after the traceback if --traceback asks for it, and exit."""
    if settings().traceback:
        print_exception(error)
    click.echo(escaped(message), err=True)
    raise click.exceptions.Exit(status)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keeprate")
@shared_options
def keeprate() -> None:
    """Compare token-reduction methods for Transformers.

    Without installing anything else, `keeprate compare` runs the methods on the data set and the
    classifier that come with keeprate.
    """
