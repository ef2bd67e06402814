"""Image classification: lists of images with their classes.

::

    mydata/
      dataset.yaml            (optional)
      train.csv               image,label
      test.csv                (or val.csv)
      photos/1.jpg            as the column ``image`` says, seen from the folder

The classes are the names in ``train.csv``, in the order of their code points, unless ``dataset.yaml`` names them in
another order. Where an image can have several classes, or none, the column is called ``labels`` and has them with
semicolons between; a column ``unknown`` has those of which it is not known whether the image has them. Other columns
are passed over.
"""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from muster.data.dataset_yaml import IMAGE_KEYS, Description, Heading, read_description
from muster.data.labelled_images import Label, dataset_of_labelled_files, several_classes
from muster.data.layout import LAYOUTS, Layout
from muster.data.patterns import require_parts
from muster.data.spec import Dataset
from muster.data.splits import compare_counts, divide_aloud
from muster.data.text_lists import text_lines
from muster.errors import DatasetError, unknown_name
from muster.user_files import open_regular

IMAGE, LABEL, LABELS, UNKNOWN = "image", "label", "labels", "unknown"
"""Names of the columns."""

SEPARATOR = ";"
"""Stands between the classes of an image."""

_TITLE = "A list of images"


class Row(NamedTuple):
    """One line of a list.

    Attributes:
        place: The list and the line, for messages.
        image: Path of the image, as written.
        classes: Names of its classes.
        unknown: Names of the classes of which it is not known whether it has them.
    """

    place: str
    image: str
    classes: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """What a list says.

    Attributes:
        path: The list.
        column: Name of the column of classes.
        rows: Its lines.
    """

    path: Path
    column: str
    rows: Sequence[Row]


class ImageList(Layout):
    """``train.csv`` and ``test.csv``, or other lists that ``splits`` names."""

    def recognises(self, folder: Path) -> bool:
        """By ``train.csv``, if its first line names the columns."""
        try:
            with open_regular(folder / "train.csv") as file:
                names = file.readline(1000).decode("utf-8-sig", "replace").strip().split(",")
        except OSError:
            return False
        return IMAGE in names and bool({LABEL, LABELS} & set(names))

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the paths of the images, as written."""
        lists = {split: _read(place) for split, place in _lists(heading).items()}
        several = _require_one_kind(lists)
        classes = sorted({name for row in lists["train"].rows for name in row.classes})
        description = read_description(
            heading, {**heading.unsaid, "classes": classes}, keys=(*IMAGE_KEYS, "splits"), whole_images=True
        )
        if several:
            _require_separable(description)
        found = {split: _labelled(description, each.rows, several) for split, each in lists.items()}
        if "test" not in found:
            names = divide_aloud(description, _TITLE, found["train"])
            every = found["train"]
            found = {
                split: {name: every[name] for name in each}
                for split, each in zip(("train", "test"), names, strict=True)
            }
        else:
            _refuse_shared(found)
        spec = replace(description.spec, task="multilabel" if several else "classification")
        files = {split: {name: each[:2] for name, each in named.items()} for split, named in found.items()}
        compare_counts(description, {name: len(each) for name, each in files.items()})
        return dataset_of_labelled_files(spec, description, files, reference)


def _lists(heading: Heading) -> dict[str, Path]:
    """The list of each split."""
    root, said = heading.root, {}
    for split, parts in heading.splits.items():
        require_parts(heading.path, split, {key or "list": part for key, part in parts.items()}, ("list",))
        said[split] = root / next(iter(parts.values()))
    found = {"train": root / "train.csv"}
    tests = [] if heading.test_is_seeded else [root / name for name in ("test.csv", "val.csv")]
    if there := [place for place in tests if os.path.lexists(place)]:
        found["test"] = there[0]
    return found | said


def _read(path: Path) -> Listed:
    """Read a list."""
    reader = csv.DictReader(text_lines(path, "The list of images"), strict=True)
    column = _column_of_classes(path, reader.fieldnames or ())
    try:
        return Listed(path, column, list(_rows(path, reader, column)))
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {reader.line_num + 1}: {error}. Expected values with commas between."
        ) from error


def _rows(path: Path, reader: csv.DictReader[str], column: str) -> Iterator[Row]:
    for cells in reader:
        place = f"{path}, line {reader.line_num}"
        image, label = ((cells[name] or "").strip() for name in (IMAGE, column))
        # Nothing at all in a column of several classes is a line that is cut off, and "" an image without a class.
        if not image or cells[column] is None or (column == LABEL and not label):
            raise DatasetError(f"{place}: expected an image and its label, but {column if image else IMAGE} is empty.")
        classes = (unicodedata.normalize("NFC", label),) if column == LABEL else _names(label)
        unknown = _names(cells.get(UNKNOWN) or "") if column == LABELS else ()
        if both := sorted(set(classes) & set(unknown)):
            raise DatasetError(
                f"{place}: {both[0]!r} is both in {LABELS} and in {UNKNOWN}. Expected it in one of them."
            )
        yield Row(place, unicodedata.normalize("NFC", image), classes, unknown)


def _names(cell: str) -> tuple[str, ...]:
    """Names of classes with semicolons between; none in an empty cell."""
    return tuple(unicodedata.normalize("NFC", part.strip()) for part in cell.split(SEPARATOR) if part.strip())


def _column_of_classes(path: Path, names: Sequence[str]) -> str:
    """Which of the two columns a list has, after a look at the others."""
    told = [name for name in (LABEL, LABELS) if name in names]
    if len(told) > 1:
        raise DatasetError(
            f"{path}: expected a column {LABEL} (one class for an image) or {LABELS} (several), but both are there. "
            "Rename the one that is not meant."
        )
    missing = [name for name in (IMAGE, *(told or [LABEL])) if name not in names]
    if missing:
        raise DatasetError(
            f"{path}: expected the columns {IMAGE} and {LABEL} (or {LABELS}) in its first line, but "
            f"{' and '.join(missing)} is not among {', '.join(names) or 'nothing'}."
        )
    return told[0]


def _require_one_kind(lists: Mapping[str, Listed]) -> bool:
    """Whether images can have several classes, which all lists must say alike."""
    columns = {each.column: each.path for each in lists.values()}
    if len(columns) > 1:
        raise DatasetError(
            f"Expected a column of one name in all lists, but {columns[LABELS]} has {LABELS} (several classes for an "
            f"image) and {columns[LABEL]} has {LABEL} (one)."
        )
    return LABELS in columns


def _require_separable(description: Description) -> None:
    if odd := [name for name in description.spec.classes if SEPARATOR in name]:
        raise DatasetError(
            f"{description.path}: key 'classes': {odd[0]!r} has a semicolon, which stands between the classes of an "
            "image in a list. Rename the class."
        )


def _labelled(description: Description, rows: Sequence[Row], several: bool) -> dict[str, tuple[Path, Label, str]]:
    """File, label and place of each image."""
    classes = {name: index for index, name in enumerate(description.spec.classes)}
    found: dict[str, tuple[Path, Label, str]] = {}
    for row in rows:
        for name in (*row.classes, *row.unknown):
            if name not in classes:
                raise DatasetError(f"{row.place}: {unknown_name('class', name, classes)}")
        if row.image in found:
            raise DatasetError(f"{row.place}: the image {row.image!r} is there twice: also at {found[row.image][2]}.")
        path = description.root / row.image
        if not os.path.lexists(path):
            raise DatasetError(f"{row.place}: there is no image {path}. Paths start from {description.root}.")
        having, unknown = ([classes[name] for name in names] for names in (row.classes, row.unknown))
        label: Label = several_classes(len(classes), having, unknown) if several else having[0]
        found[row.image] = path, label, row.place
    if not found:
        raise DatasetError(
            f"Dataset {description.spec.name!r} has an empty split: a list in {description.root} has no lines."
        )
    return found


def _refuse_shared(found: Mapping[str, Mapping[str, tuple[Path, Label, str]]]) -> None:
    """Refuse an image that is for training and for testing."""
    train = {os.path.normpath(file): place for file, _, place in found["train"].values()}
    for name, (file, _, place) in found["test"].items():
        if (other := train.get(os.path.normpath(file))) is not None:
            raise DatasetError(
                f"{place}: the image {name!r} is in the training list too: {other}. Leave it out of one."
            )


LAYOUTS.add("image_list", ImageList())
