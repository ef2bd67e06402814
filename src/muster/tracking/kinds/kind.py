"""A kind of logger: how it is opened for a run, what it does with the content of a report, how it is closed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pytorch_lightning.loggers import Logger

from muster.arrays import NumpyArray
from muster.errors import ConfigError
from muster.files import to_builtin_types
from muster.registry import Registry

PROJECT = "muster"
"""W&B project and MLflow experiment, unless a run says otherwise."""


@dataclass(frozen=True)
class Run:
    """What a tracker is told of a run when it begins.

    Attributes:
        folder: The run's own folder; trackers write below it.
        job: What is done: train, select, finetune or study.
        name: What to call it.
        pool: Name of the pool; of a study the names of all, with spaces between them.
        target: What the model or the ensemble is for: a target, or the source dataset of a member. May be empty; of a
            study the names of all.
        config: The resolved configuration, in plain values.
        project: What all runs have in common.
    """

    folder: Path
    job: Literal["train", "select", "finetune", "study"]
    name: str
    pool: str = ""
    target: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    project: str = PROJECT

    @property
    def group(self) -> str:
        """Runs that belong together: those that train a pool; those that choose from it for a target and fine-tune.

        A study is by itself, unless it is run again.
        """
        if self.job == "study":
            return self.name
        return self.pool if self.job == "train" else f"{self.pool}-{self.target}"

    @property
    def links(self) -> dict[str, str]:
        """By what runs of a project find each other; a member's dataset is its source."""
        purpose = "source" if self.job == "train" else "target"
        return {"job": self.job, "pool": self.pool, purpose: self.target}

    @property
    def options(self) -> dict[str, Any]:
        """The configuration with the links on top, in plain values."""
        plain: dict[str, Any] = to_builtin_types({**self.config, **self.links})
        return plain


@runtime_checkable
class Rows(Protocol):
    """A table of plain values, such as :class:`muster.report.tables.Table`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings."""

    @property
    def rows(self) -> list[tuple[str | int | float | None, ...]]:
        """One value per column."""


@dataclass(frozen=True)
class Picture:
    """An image with what was predicted for it.

    Attributes:
        name: Which image.
        image: uint8 ``[h, w, 3]``.
        masks: uint8 ``[h, w]``, class indices, by what or who says so.
        painted: uint8 ``[h, w, 3]``: the masks in the colours of their classes, the confidence in a colour scale.
    """

    name: str
    image: NumpyArray
    masks: Mapping[str, NumpyArray]
    painted: Mapping[str, NumpyArray]


@dataclass(frozen=True)
class Chart:
    """A figure that lies on disk already.

    Attributes:
        name: What to call it.
        png: Its PNG file.
        page: A page of it that answers to the mouse, if there is one.
    """

    name: str
    png: Path
    page: Path | None = None


@dataclass(frozen=True)
class Content:
    """What a run found.

    Attributes:
        numbers: Results by name; slashes group them. Those that are unknown or not finite are left out.
        tables: By name.
        pictures: Images.
        classes: Names of the classes in the masks, by index.
        files: Records and reports, in the run's folder.
        charts: Figures.
    """

    numbers: Mapping[str, float | None] = field(default_factory=dict)
    tables: Mapping[str, Rows] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    classes: Mapping[int, str] = field(default_factory=dict)
    files: Sequence[Path] = ()
    charts: Sequence[Chart] = ()

    def finite(self) -> dict[str, float]:
        """The numbers that are known and finite."""
        known = {name: float(value) for name, value in self.numbers.items() if value is not None}
        return {name: value for name, value in known.items() if math.isfinite(value)}

    def present(self) -> list[Path]:
        """The files that are there."""
        return [path for path in self.files if path.is_file()]


class LoggerKind(ABC):
    """What one file of :mod:`muster.tracking.kinds` offers.

    Attributes:
        folder: The folder that it makes in that of a run.
        module: The library that it needs besides what muster always has; empty if none.
        extra: The extra of muster that installs it.
        everywhere: Whether every process of a distributed run opens one; otherwise the first alone does.
    """

    folder: ClassVar[str]
    module: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    everywhere: ClassVar[bool] = False

    def require_installed(self, name: str) -> None:
        """Check that its library is there, without importing it.

        Args:
            name: What the user wrote.

        Raises:
            ConfigError: If it is not.
        """
        if self.module and find_spec(self.module) is None:
            raise ConfigError(
                f"The logger {name!r} needs the package {self.module!r}, which is not installed. "
                f'Install it with: pip install "muster[{self.extra}]"'
            )

    @abstractmethod
    def open(self, run: Run) -> Logger:
        """Open a logger for a run; nothing may be asked of the user."""

    @abstractmethod
    def made(self, logger: Logger) -> bool:
        """Whether a logger is of this kind."""

    def send(self, logger: Logger, content: Content) -> None:  # noqa: B027 (some keep curves alone)
        """Take what a run found; see :class:`Content`."""

    def close(self, logger: Logger, succeeded: bool) -> None:
        """Write everything out and end the run."""
        logger.finalize("success" if succeeded else "failed")


KINDS: Registry[LoggerKind] = Registry("logger", "muster.tracking.kinds", ConfigError)
"""All kinds by the name that users write; a file in :mod:`muster.tracking.kinds` adds its own."""


def flattened(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A mapping of mappings as one, with dots between the levels.

    Example:
        >>> flattened({"training": {"steps": 3}, "size": 2})
        {'training.steps': 3, 'size': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return flat
