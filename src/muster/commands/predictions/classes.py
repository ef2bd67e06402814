"""The classes of whole images: one table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from muster.commands.predictions.of_images import OfImages
from muster.commands.predictions.settings import PredictionSettings
from muster.commands.predictions.writer import WRITERS
from muster.data import read_image
from muster.data.spec import TEXTS
from muster.files import atomic_write
from muster.tasks.task import Task
from muster.training.finetuned_ensemble import Ensemble

CLASSES = "classes.csv"


class ClassTable:
    """A table with one row a sample: what is predicted of it, such as its class and the probabilities of all."""

    def __init__(self, ensemble: Ensemble, *about: str) -> None:
        """Begin without rows.

        Args:
            ensemble: Whose predictions are meant.
            about: Names of the first columns.
        """
        self._ensemble, self._rows = ensemble, list[tuple[object, ...]]()
        # A class may be called like one of the first columns, or like another class in other letters.
        self._columns = [*about, *ensemble.task.in_words([0.0] * len(ensemble.classes), ensemble.classes)]

    def add(self, about: tuple[str, ...], predictions: list[float]) -> None:
        """Add a row.

        Args:
            about: What the first columns say.
            predictions: One for each class.
        """
        told = self._ensemble.task.in_words(predictions, self._ensemble.classes)
        self._rows.append((*about, *told.values()))

    def write(self, path: Path) -> None:
        """Write it as CSV."""
        with atomic_write(path) as partial:
            pd.DataFrame(self._rows, columns=self._columns).to_csv(partial, index=False)


class Classes(OfImages):
    """Writes ``classes.csv``, one row an image."""

    def __init__(self, ensemble: Ensemble, output: Path, settings: PredictionSettings) -> None:
        """See :class:`PredictionWriter`."""
        super().__init__(ensemble, output, settings)
        self._table = ClassTable(ensemble, "image", "file")

    @staticmethod
    def takes(task: Task) -> bool:
        """See :meth:`PredictionWriter.takes`."""
        return task.is_pooled and task.holds != TEXTS

    @property
    def parts(self) -> tuple[str, ...]:
        """See :meth:`PredictionWriter.parts`."""
        return (CLASSES,)

    def require_used(self) -> None:
        """See :meth:`PredictionWriter.require_used`: what only makes sense where every pixel is classified."""
        super().require_used()
        require_no_maps(self.settings, self.ensemble.task.sample)

    def add(self, name: str, sample: Path) -> bool:
        """See :meth:`PredictionWriter.add`."""
        self._table.add((name, str(sample)), self.ensemble.classify(read_image(sample)).tolist())
        return False

    def finish(self) -> None:
        """Write the table, and what classes are called."""
        self._table.write(self.output / CLASSES)
        super().finish()


def require_no_maps(settings: PredictionSettings, sample: str) -> None:
    """Refuse what only makes sense where every pixel is classified.

    Args:
        settings: What is asked for.
        sample: What is classified as a whole.

    Raises:
        ConfigError: If it was asked for.
    """
    settings.require_unused(
        settings.all_but("overlays"), f"the ensemble has one class for a whole {sample}, so there are no maps."
    )


WRITERS.add("classes", Classes)
