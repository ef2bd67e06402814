"""Where a run writes its course: CSV always, others when asked. A tracker is a copy, never the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from muster.tracking.kinds import KINDS, Content, Run


def make_loggers(kinds: Sequence[str], run: Run) -> list[Logger]:
    """Loggers for one run; for a Trainer's ``logger``.

    All but CSV are opened by rank zero only. Close them with :func:`close_loggers` when everything has been sent.

    Args:
        kinds: Names of kinds, see :data:`KINDS`.
        run: What is tracked.

    Returns:
        The loggers, in the order of the names.

    Raises:
        ConfigError: If a kind is unknown, or cannot be opened.
    """
    is_first = getattr(rank_zero_only, "rank", 0) in (None, 0)
    wanted = [KINDS[name] for name in kinds]
    return [kind.open(run) for kind in wanted if is_first or kind.everywhere]


@rank_zero_only
def send(loggers: Sequence[Logger], content: Content) -> None:
    """Give what a run found to the trackers among some loggers; others of a caller's own get nothing.

    Args:
        loggers: What :func:`make_loggers` gave.
        content: What was found.
    """
    for logger in loggers:
        for kind in KINDS:
            if kind.made(logger):
                kind.send(logger, content)


@rank_zero_only
def close_loggers(loggers: Sequence[Logger], succeeded: bool = True) -> None:
    """Write everything out and end the runs that :func:`make_loggers` opened.

    Args:
        loggers: The loggers of one run.
        succeeded: Whether it did what it should.
    """
    for logger in loggers:
        for kind in KINDS:
            if kind.made(logger):
                kind.close(logger, succeeded)


@contextmanager
def tracked(kinds: Sequence[str], run: Run) -> Iterator[list[Logger]]:
    """Loggers for as long as a run lasts, told at its end whether it did what it should.

    Args:
        kinds: Names of kinds, see :data:`KINDS`.
        run: What is tracked.

    Yields:
        What :func:`make_loggers` gives.
    """
    loggers, succeeded = make_loggers(kinds, run), False
    try:
        yield loggers
        succeeded = True
    finally:
        close_loggers(loggers, succeeded)
