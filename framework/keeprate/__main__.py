"""Run the command line: `python -m keeprate` is the same as `keeprate`."""

from __future__ import annotations

from .cli import keeprate


def main() -> None:
    """Run the command named on the command line and exit with its status."""
    keeprate(prog_name="keeprate")


if __name__ == "__main__":
    main()
