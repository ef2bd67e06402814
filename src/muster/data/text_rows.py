"""Texts in rows: of a set of the library ``datasets``, or of Parquet files with a column of texts and one of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from muster.data.dataset_yaml import Heading, read_description
from muster.data.labelled_texts import LABEL, TEXT, TextSource, divided, of_texts
from muster.data.saved_rows import Rows
from muster.data.spec import Dataset
from muster.errors import DatasetError

_LABELS = (LABEL, "labels")
"""Names of the column of labels, of which the first that is there counts."""

_STRINGS = ("string", "large_string")


class TextColumns(NamedTuple):
    """Where texts and their classes are.

    Attributes:
        text: Name of the column of texts.
        label: Of the column of classes.
        classes: Names of the classes by their numbers; none if the cells are to say them.
    """

    text: str
    label: str
    classes: tuple[str, ...]


def text_columns(heading: Heading, info: Mapping[str, Any]) -> TextColumns | None:
    """The columns of a set of texts.

    Args:
        heading: Its ``dataset.yaml`` may name them: ``columns: {text: NAME, label: NAME}``.
        info: What the set says of itself.

    Returns:
        ``None`` of a set with images, or without a column of strings that is called text.

    Raises:
        DatasetError: If there is no column of labels.
    """
    features, said = info.get("features") or {}, heading.options.get("columns", {})
    kinds = {name: kind if isinstance(kind, dict) else {} for name, kind in features.items()}
    named = said if isinstance(said, dict) else {}
    text = str(named.get(TEXT, TEXT))
    if any(kind.get("_type") == "Image" for kind in kinds.values()) or kinds.get(text, {}).get("dtype") not in _STRINGS:
        return None
    label = next((name for name in ([named[LABEL]] if LABEL in named else _LABELS) if name in kinds), None)
    if label is None:
        raise DatasetError(
            f"{heading.root}: it is not clear which column has the class of a text: {', '.join(kinds)}. Say it in "
            f"{heading.path.name}: 'columns: {{label: NAME}}'."
        )
    return TextColumns(text, str(label), tuple(map(str, kinds[label].get("names") or ())))


class RowTexts(TextSource):
    """Texts in a column."""

    def __init__(self, rows: Rows, column: str, names: Sequence[str]) -> None:
        """Remember which.

        Args:
            rows: The set.
            column: Name of the column.
            names: Identifiers of the rows.
        """
        self.rows, self.column, self.names = rows, column, tuple(names)

    def __iter__(self) -> Iterator[str]:
        """See :class:`muster.data.sample_reader.ImageSource`."""
        return iter(self.names)

    def __contains__(self, identifier: object) -> bool:
        """See :class:`muster.data.sample_reader.ImageSource`."""
        return isinstance(identifier, str) and identifier.isdigit() and int(identifier) < len(self.rows)

    def called(self, identifier: str) -> str:
        """See :class:`muster.data.sample_reader.ImageSource`."""
        return f"Text in {self.rows.called(self.column, identifier)}"

    def text(self, identifier: str) -> str:
        """See :class:`TextSource`."""
        return str(self.rows.cell(self.column, int(identifier)) or "")


def open_text_rows(
    heading: Heading, rows: Mapping[str, Rows], said: Mapping[str, str], columns: TextColumns, reference: str
) -> Dataset:
    """A dataset of the rows of one or two sets.

    Args:
        heading: Of the folder.
        rows: The sets of ``train``, and maybe ``test``.
        said: What they say of licence and citation.
        columns: Where texts and classes are.
        reference: What it is to be called in records.

    Raises:
        DatasetError: If a label is no class, or ``dataset.yaml`` is not valid.
    """
    cells = {split: each.column(columns.label) for split, each in rows.items()}
    known = {**heading.unsaid, **said, "classes": list(columns.classes) or _classes_in(cells["train"])}
    description = read_description(heading, known, keys=("splits", "columns"), whole_images=True)
    classes = description.spec.classes
    if columns.classes and classes != columns.classes:
        raise DatasetError(f"{description.path}: leave 'classes' out: the column {columns.label!r} says them.")
    labels = {split: _labels(rows[split], columns.label, each, classes) for split, each in cells.items()}
    sources = {split: RowTexts(rows[split], columns.text, list(each)) for split, each in labels.items()}
    return divided(description, of_texts(description.spec), sources, labels, "A set of texts", reference)


def _classes_in(cells: Sequence[Any]) -> list[str]:
    """Names of classes where the column does not say them: the strings in it, or the numbers up to the largest."""
    if all(isinstance(cell, int) for cell in cells):
        return [str(number) for number in range(max(cells, default=0) + 1)]
    return sorted({str(cell) for cell in cells})


def _labels(rows: Rows, column: str, cells: Sequence[Any], classes: Sequence[str]) -> dict[str, int]:
    """The class of each row."""
    places: dict[Any, int] = {name: index for index, name in enumerate(classes)}
    places |= {number: number for number in range(len(classes))}
    for number, cell in enumerate(cells):
        if cell not in places:
            raise DatasetError(
                f"{rows.called(column, str(number))} is {cell!r}, but expected a class: {', '.join(classes)} (or its "
                "number from 0 on). If this set has no labels, name another one in dataset.yaml: 'splits: {train: "
                "NAME, test: NAME}'."
            )
    return {f"{number:07}": places[cell] for number, cell in enumerate(cells)}
