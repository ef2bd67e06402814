"""The classes of texts: one table."""

from __future__ import annotations

from pathlib import Path

from muster.commands.predictions.classes import CLASSES, ClassTable, require_no_maps
from muster.commands.predictions.settings import PredictionSettings
from muster.commands.predictions.writer import WRITERS, PredictionWriter
from muster.data.labelled_texts import TEXT
from muster.data.plain_texts import listed_texts
from muster.data.spec import TEXTS
from muster.tasks.task import Task
from muster.training.ensemble_card import EnsembleCard
from muster.training.finetuned_ensemble import Ensemble


class TextClasses(PredictionWriter[str]):
    """Writes ``classes.csv``, one row a text."""

    def __init__(self, ensemble: Ensemble, output: Path, settings: PredictionSettings) -> None:
        """See :class:`PredictionWriter`."""
        super().__init__(ensemble, output, settings)
        self._table = ClassTable(ensemble, TEXT, "place")

    @staticmethod
    def takes(task: Task) -> bool:
        """See :meth:`PredictionWriter.takes`."""
        return task.is_pooled and task.holds == TEXTS

    @staticmethod
    def listed(place: Path, option: str, card: EnsembleCard) -> dict[str, str]:  # noqa: ARG004 (texts have no channels)
        """See :meth:`PredictionWriter.listed` and :func:`listed_texts`."""
        return listed_texts(place, option)

    @property
    def parts(self) -> tuple[str, ...]:
        """See :meth:`PredictionWriter.parts`."""
        return (CLASSES,)

    def require_used(self) -> None:
        """See :meth:`PredictionWriter.require_used`: what is about images."""
        require_no_maps(self.settings, self.ensemble.task.sample)

    def add(self, name: str, sample: str) -> bool:
        """See :meth:`PredictionWriter.add`."""
        self._table.add((sample, name), self.ensemble.classify(sample).tolist())
        return False

    def finish(self) -> None:
        """Write the table, and what classes are called."""
        self._table.write(self.output / CLASSES)
        super().finish()


WRITERS.add("texts", TextClasses)
