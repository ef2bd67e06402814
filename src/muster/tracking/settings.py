"""Which trackers a run writes to, and what they left in its folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

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
        if self.trackers:
            from muster.tracking.kinds import KINDS  # here, since all kinds import Lightning, which takes seconds

            for name in self.trackers:
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


def copy_tracked(old: Path, new: Path) -> None:
    """Take along what trackers wrote of earlier runs, where one folder is about to take the place of another.

    Args:
        old: The folder whose :data:`LOGS` are copied, if it has any.
        new: The folder that will replace it.
    """
    if (old / LOGS).is_dir():
        shutil.copytree(old / LOGS, new / LOGS, symlinks=True)
