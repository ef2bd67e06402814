"""The classes of texts: one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from muster.commands.predictions.classes import CLASSES, ClassTable, require_no_maps
from muster.commands.predictions.settings import PredictionSettings
from muster.commands.predictions.writer import WRITERS, PredictionWriter
from muster.data.labelled_texts import TEXT, read_text
from muster.data.layouts.text_list import DELIMITERS
from muster.data.spec import TEXTS
from muster.errors import DatasetError
from muster.remote import fetched
from muster.tasks.task import Task
from muster.training.ensemble_card import EnsembleCard
from muster.training.finetuned_ensemble import Ensemble

_ENDING = ".txt"


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


def listed_texts(place: Path, option: str = "--images") -> dict[str, str]:
    """What is to be classified.

    Args:
        place: A folder of ``.txt`` files, each a text; a ``.txt`` file with a text in each line; or a table (``.csv``,
            ``.tsv``) with a column ``text``.
        option: What named it, for messages.

    Returns:
        Texts by where they are.

    Raises:
        DatasetError: If it is none of these, or holds no text.
    """
    place = fetched(place, DatasetError)
    if not place.exists() or not (place.is_dir() or place.suffix.lower() in {_ENDING, *DELIMITERS}):
        raise DatasetError(
            f"{option}: {place} holds no texts. Give a folder of {_ENDING} files, a {_ENDING} file with a text in each "
            f"line, or a table ({', '.join(DELIMITERS)}) with a column {TEXT}."
        )
    found = {where: text for where, text in _texts(place, option) if text.strip()}
    if not found:
        raise DatasetError(f"{option}: there is no text in {place}.")
    return found


def _texts(place: Path, option: str) -> Iterator[tuple[str, str]]:
    if place.is_dir():
        for path in sorted(place.rglob(f"*{_ENDING}")):
            yield str(path), read_text(path)
        return
    content = read_text(place)
    if place.suffix.lower() == _ENDING:
        for number, line in enumerate(content.splitlines(), start=1):
            yield f"{place}, line {number}", line
        return
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=DELIMITERS[place.suffix.lower()])
    if TEXT not in (reader.fieldnames or ()):
        raise DatasetError(f"{option}: {place} has no column {TEXT} in its first line.")
    for cells in reader:
        yield f"{place}, line {reader.line_num}", cells[TEXT] or ""


WRITERS.add("texts", TextClasses)
