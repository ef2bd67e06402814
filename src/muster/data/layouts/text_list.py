"""Text classification: lists of texts with their classes, with commas or tabs between.

::

    mydata/
      dataset.yaml            (optional)
      train.csv               text,label
      test.csv                (or val.csv; without one, a fifth of the texts is held out)

The lists may be ``train.tsv`` and ``test.tsv`` with tabs between. Columns of other names are told by ``columns: {text:
NAME, label: NAME}`` in ``dataset.yaml``, other lists by ``splits``; further columns are passed over. The classes are
the names in ``train``, in the order of their code points, unless ``dataset.yaml`` names them in another order.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from muster.data.dataset_yaml import Heading, read_description
from muster.data.labelled_texts import LABEL, TEXT, TextRow, dataset_of_rows, read_text
from muster.data.layout import LAYOUTS, Layout
from muster.data.patterns import require_parts
from muster.data.spec import Dataset
from muster.errors import DatasetError
from muster.user_files import open_regular

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""What stands between the columns, by the ending of a list."""

_TITLE = "A list of texts"
_LARGEST_CELL = 10_000_000  # characters; Python's own limit is a hundredth of it


class TextList(Layout):
    """``train.csv`` and ``test.csv``, or other lists that ``splits`` names."""

    def recognises(self, folder: Path) -> bool:
        """By ``train.csv`` or ``train.tsv``, if its first line names the columns."""
        return any({TEXT, LABEL} <= set(_first_names(folder / f"train{end}", mark)) for end, mark in DELIMITERS.items())

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the numbers of the rows."""
        columns = columns_of(heading)
        lists = {split: (path, list(_rows(path, columns))) for split, path in _lists(heading).items()}
        classes = sorted({row.label for row in lists["train"][1]})
        known = {**heading.unsaid, "classes": classes}
        description = read_description(heading, known, keys=("splits", "columns"), whole_images=True)
        return dataset_of_rows(description, lists, _TITLE, reference)


def columns_of(heading: Heading) -> dict[str, str]:
    """Names of the columns of texts and of classes.

    Raises:
        DatasetError: If ``columns`` says something else.
    """
    said: Any = heading.options.get("columns", {})
    if not isinstance(said, dict) or not set(said) <= {TEXT, LABEL}:
        raise DatasetError(f"{heading.path}: key 'columns': expected names for {TEXT} and {LABEL}, but got {said!r}.")
    return {TEXT: TEXT, LABEL: LABEL} | {str(key): str(name) for key, name in said.items()}


def _first_names(path: Path, delimiter: str) -> list[str]:
    try:
        with open_regular(path) as file:
            line = file.readline(1000).decode("utf-8-sig", "replace").strip()
    except OSError:
        return []
    return [name.strip('"') for name in line.split(delimiter)]


def _lists(heading: Heading) -> dict[str, Path]:
    """The list of each split."""
    root, said = heading.root, {}
    for split, parts in heading.splits.items():
        require_parts(heading.path, split, {key or "list": part for key, part in parts.items()}, ("list",))
        said[split] = root / next(iter(parts.values()))
    there = {name: _one_of(root, name) for name in ("train", "test", "val")}
    train = there["train"] or root / "train.csv"
    test = None if heading.test_is_seeded else there["test"] or there["val"]
    return {"train": train} | ({} if test is None else {"test": test}) | said


def _one_of(root: Path, name: str) -> Path | None:
    return next((root / f"{name}{end}" for end in DELIMITERS if os.path.lexists(root / f"{name}{end}")), None)


def _rows(path: Path, columns: Mapping[str, str]) -> Iterator[TextRow]:
    content = io.StringIO(read_text(path), newline="")  # a text may have lines of its own
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.DictReader(content, delimiter=DELIMITERS.get(path.suffix.lower(), ","), strict=True)
    try:
        names = reader.fieldnames or ()
        if missing := [name for name in columns.values() if name not in names]:
            raise DatasetError(
                f"{path}: expected the columns {' and '.join(columns.values())} in its first line, but "
                f"{' and '.join(missing)} is not among {', '.join(names) or 'nothing'}. Name others in "
                "dataset.yaml: 'columns: {text: NAME, label: NAME}'."
            )
        for cells in reader:
            yield _row(f"{path}, line {reader.line_num}", cells, columns)
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num + 1}: {error}. Expected a text and its label.") from error


def _row(place: str, cells: Mapping[str, str | None], columns: Mapping[str, str]) -> TextRow:
    text, label = ((cells[columns[key]] or "").strip() for key in (TEXT, LABEL))
    if not text or not label:
        empty = columns[LABEL] if text else columns[TEXT]
        raise DatasetError(f"{place}: expected a text and its label, but {empty} is empty.")
    return TextRow(place, text, unicodedata.normalize("NFC", label))


LAYOUTS.add("text_list", TextList())
