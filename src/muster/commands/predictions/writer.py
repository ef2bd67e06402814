"""What all kinds of prediction files have in common. Each kind is a module beside this one and named nowhere else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from muster.commands.predictions.settings import PredictionSettings
from muster.errors import ConfigError
from muster.files import write_text
from muster.registry import Registry
from muster.tasks.task import Task
from muster.training.ensemble_card import EnsembleCard
from muster.training.finetuned_ensemble import Ensemble

Sample = TypeVar("Sample")
"""One of what is predicted: the path of an image, a text."""


class PredictionWriter(ABC, Generic[Sample]):
    """Writes one kind of files, for one ensemble and one folder; whole when :meth:`finish` is done.

    Attributes:
        ensemble: In evaluation mode.
        output: The folder.
        settings: What is asked for.
    """

    def __init__(self, ensemble: Ensemble, output: Path, settings: PredictionSettings) -> None:
        """Nothing is written yet.

        Raises:
            ConfigError: If something is asked for that has no effect on files of this kind.
        """
        self.ensemble, self.output, self.settings = ensemble, output, settings
        self.require_used()

    @staticmethod
    @abstractmethod
    def takes(task: Task) -> bool:
        """Whether predictions of a task are written so."""

    @staticmethod
    @abstractmethod
    def listed(place: Path, option: str, card: EnsembleCard) -> dict[str, Sample]:
        """What is to be predicted, by what to call it.

        Args:
            place: What the user named.
            option: What named it, for messages.
            card: Of the ensemble.

        Raises:
            DatasetError: If there is nothing to predict.
            ConfigError: If the ensemble cannot predict such files.
        """

    @staticmethod
    def passed_over(place: Path, samples: Mapping[str, Sample]) -> list[str]:  # noqa: ARG004 (for those who do)
        """Sentences about files in the place that would be predicted if they could be read."""
        return []

    @abstractmethod
    def require_used(self) -> None:
        """Refuse what has no effect.

        Raises:
            ConfigError: If it is asked for.
        """

    @property
    @abstractmethod
    def parts(self) -> tuple[str, ...]:
        """Folders and files that are written, in the order in which they are told."""

    def begin(self) -> None:
        """Look at the folder, which is ours from now on.

        Raises:
            ConfigError: If a folder that is written to is a link.
        """
        for part in self.parts:
            if not Path(part).suffix and (self.output / part).is_symlink():
                raise ConfigError(
                    f"{self.output / part} is a link: what it leads to is not replaced. Give another --output."
                )

    @abstractmethod
    def add(self, name: str, sample: Sample) -> bool:
        """Predict one sample.

        Args:
            name: What to call it.
            sample: As :meth:`listed` gave it.

        Returns:
            Whether it was predicted in tiles.

        Raises:
            DatasetError: If it cannot be read.
            OutputError: If a file cannot be written.
        """

    def finish(self) -> None:
        """Write what is about all samples; here the names of the classes, which indices in files stand for."""
        names = enumerate(self.ensemble.classes)
        write_text(self.output / "classes.txt", "".join(f"{index} {name}\n" for index, name in names))


WRITERS: Registry[type[PredictionWriter[Any]]] = Registry(
    "kind of prediction", "muster.commands.predictions", ConfigError
)


def writer_of(task: Task) -> type[PredictionWriter[Any]]:
    """Who writes the predictions of a task.

    Args:
        task: Of the ensemble.

    Raises:
        ConfigError: If nobody does.
    """
    if task.written_as:
        return WRITERS[task.written_as]
    for writer in WRITERS:
        if writer.takes(task):
            return writer
    raise ConfigError(f"Predictions of {task.name} cannot be written as files. Predict in Python.")
