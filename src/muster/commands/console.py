"""Where commands print."""

from __future__ import annotations

from rich.console import Console

WIDTH_OF_FILES = 140
"""Columns of what is not a terminal: a log should not break names in two."""


def make_console(quiet: bool = False) -> Console:
    """A console that is as wide as the terminal, and wide enough for the tables anywhere else.

    Args:
        quiet: Print nothing, as in the processes that only help.

    Returns:
        The console.
    """
    console = Console(quiet=quiet)
    return console if console.is_terminal else Console(quiet=quiet, width=WIDTH_OF_FILES)
