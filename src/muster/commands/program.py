"""What users type to start a command: a script of the repository, or the console command of an installation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CONSOLE = "muster"
"""The console command."""

_started: ContextVar[str] = ContextVar("started", default="")


@contextmanager
def started_as(prog: str) -> Iterator[None]:
    """Remember how a command was started, for as long as it works.

    Args:
        prog: What the user typed: ``train.py`` or ``muster train``.
    """
    before = _started.set(prog)
    try:
        yield
    finally:
        _started.reset(before)


def is_console() -> bool:
    """Whether the command at work was started by the console command."""
    return _started.get().partition(" ")[0] == CONSOLE


def short_name(command: str) -> str:
    """What sentences call another command: ``select.py`` or ``muster select``, as the one at work was started."""
    return f"{CONSOLE} {command}" if is_console() else f"{command}.py"


def to_type(command: str) -> str:
    """What to type to start another command: ``python select.py`` or ``muster select``."""
    return short_name(command) if is_console() else f"python {short_name(command)}"
