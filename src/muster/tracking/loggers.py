"""Where a run writes its course: CSV always, others when asked. A tracker is a copy, never the record."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from muster.tracking.kinds import KINDS, Content, Run

ALWAYS = "csv"
"""The kind that is written whether it is asked for or not."""

LOGS = "logs"
"""Folder for trackers where they have one of their own."""


@dataclass(frozen=True)
class TrackingSettings:
    """Where a run writes its course.

    Attributes:
        logger: Where curves, tables and images go besides the run's own files: csv always, and any of tensorboard,
            mlflow and wandb; several as csv,tensorboard or as a list.
    """

    logger: tuple[str, ...] | str = ALWAYS

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: If a kind is unknown, or what it needs is not installed.
        """
        for name in self.kinds:
            KINDS[name].require_installed(name)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds, each once, CSV first."""
        given = self.logger.split(",") if isinstance(self.logger, str) else self.logger
        return tuple(dict.fromkeys([ALWAYS, *(name.strip() for name in given if name.strip())]))

    @property
    def trackers(self) -> tuple[str, ...]:
        """The kinds that keep tables, numbers and images of a run without curves: all but CSV."""
        return tuple(kind for kind in self.kinds if kind != ALWAYS)

    def idle(self, others: str) -> dict[str, str]:
        """Whether the choice changes nothing where a run has no curves, as options without effect are told.

        Args:
            others: What holds everything then, as the end of a sentence.
        """
        return {} if self.trackers else {"logger": f"with {ALWAYS} alone, as {others}"}


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


def copy_tracked(old: Path, new: Path) -> None:
    """Take along what trackers wrote of earlier runs, where one folder is about to take the place of another.

    Args:
        old: The folder whose :data:`LOGS` are copied, if it has any.
        new: The folder that will replace it.
    """
    if (old / LOGS).is_dir():
        shutil.copytree(old / LOGS, new / LOGS, symlinks=True)
