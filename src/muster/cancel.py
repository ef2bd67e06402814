"""Ask a long computation to end early: it returns what it has, and its result says that it is partial."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Cancelled(Exception):  # noqa: N818 (no error: somebody wanted it)
    """A computation was asked to end before it had a result, even a partial one."""


class CancelToken:
    """Says whether somebody wants the work to end early. It may be asked and set from any thread.

    A computation that can end early asks :attr:`is_set` wherever what it has is usable. It opens :meth:`awaited`
    for as long, so that whoever handles Ctrl-C knows whether setting the token has an effect.

    Example:
        >>> cancel, done = CancelToken(), []
        >>> for step in range(5):
        ...     if cancel.is_set:
        ...         break
        ...     done.append(step)
        ...     if step == 2:
        ...         cancel.set()
        >>> done
        [0, 1, 2]
    """

    def __init__(self) -> None:
        """Nobody wants the work to end."""
        self._event = threading.Event()
        self._waiting = 0

    @property
    def is_set(self) -> bool:
        """Whether the work is to end."""
        return self._event.is_set()

    @property
    def is_awaited(self) -> bool:
        """Whether a computation that asks is under way."""
        return self._waiting > 0

    def set(self) -> None:
        """Ask the work to end."""
        self._event.set()

    def check(self) -> None:
        """Leave a computation from inside.

        Raises:
            Cancelled: If the work is to end.
        """
        if self.is_set:
            raise Cancelled

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """The work inside the block asks this token, and keeps what it has when it ends early."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1


@contextmanager
def set_by_interrupt(cancel: CancelToken) -> Iterator[None]:
    """Let the first Ctrl-C set a token while a computation asks it; any other one stops at once.

    Only Python's own handling is replaced, in the main thread: whoever handles Ctrl-C already (Lightning does) goes on
    to do so.

    Args:
        cancel: The token.

    Yields:
        Nothing.

    Raises:
        KeyboardInterrupt: At a Ctrl-C while nothing asks the token, and at the second one.
    """

    def handle(_: int, __: object) -> None:
        if cancel.is_set or not cancel.is_awaited:
            raise KeyboardInterrupt
        cancel.set()

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
