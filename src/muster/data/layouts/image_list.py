"""Image classification: lists of images with their classes.

::

    mydata/
      dataset.yaml            (optional)
      train.csv               image,label
      test.csv                (or val.csv)
      photos/1.jpg            as the column ``image`` says, seen from the folder

The classes are the names in ``train.csv``, in the order of their code points, unless ``dataset.yaml`` names them in
another order. Other columns are passed over.
"""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from muster.data.dataset_yaml import IMAGE_KEYS, Description, Heading, read_description, read_heading
from muster.data.labelled_images import dataset_of_labelled_files
from muster.data.layout import LAYOUTS, Layout
from muster.data.patterns import require_parts
from muster.data.spec import Dataset
from muster.data.splits import compare_counts, divide_aloud
from muster.data.text_lists import text_lines
from muster.errors import DatasetError, unknown_name
from muster.user_files import open_regular

IMAGE, LABEL, LABELS = "image", "label", "labels"
"""Names of the columns."""

_TITLE = "A list of images"


class Row(NamedTuple):
    """One line of a list.

    Attributes:
        place: The list and the line, for messages.
        image: Path of the image, as written.
        label: Name of the class.
    """

    place: str
    image: str
    label: str


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

    def open(self, folder: Path, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the paths of the images, as written."""
        heading = read_heading(folder)
        rows = {split: list(_rows(place)) for split, place in _lists(heading).items()}
        classes = sorted({row.label for row in rows["train"]})
        description = read_description(
            folder, {**heading.unsaid, "classes": classes}, keys=(*IMAGE_KEYS, "splits"), most_classes=None
        )
        found = {split: _labelled(description, each) for split, each in rows.items()}
        if "test" not in found:
            names = divide_aloud(heading.root, _TITLE, found["train"], heading.test_is_seeded)
            every = found["train"]
            found = {
                split: {name: every[name] for name in each}
                for split, each in zip(("train", "test"), names, strict=True)
            }
        _refuse_shared(found, rows)
        spec = replace(description.spec, task="classification")
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


def _rows(path: Path) -> Iterator[Row]:
    """The lines of a list."""
    reader = csv.DictReader(text_lines(path, "The list of images"), strict=True)
    _require_columns(path, reader.fieldnames or ())
    try:
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            image, label = ((cells[name] or "").strip() for name in (IMAGE, LABEL))
            if not image or not label:
                raise DatasetError(
                    f"{place}: expected an image and its label, but {IMAGE if label else LABEL} is empty."
                )
            yield Row(place, unicodedata.normalize("NFC", image), unicodedata.normalize("NFC", label))
    except csv.Error as error:
        raise DatasetError(
            f"{path}, line {reader.line_num + 1}: {error}. Expected values with commas between."
        ) from error


def _require_columns(path: Path, names: object) -> None:
    there = [str(name) for name in names] if isinstance(names, (list, tuple)) else []
    if LABELS in there and LABEL not in there:
        raise DatasetError(
            f"{path}: the column {LABELS!r} means several classes for one image, but lists are read with one class "
            f"an image: expected a column {LABEL!r}. (The task 'multilabel' takes a dataset that is made in Python.)"
        )
    missing = [name for name in (IMAGE, LABEL) if name not in there]
    if missing:
        raise DatasetError(
            f"{path}: expected the columns {IMAGE} and {LABEL} in its first line, but {' and '.join(missing)} is not "
            f"among {', '.join(there) or 'nothing'}."
        )


def _labelled(description: Description, rows: list[Row]) -> dict[str, tuple[Path, int, str]]:
    """File, class and place of each image."""
    classes = {name: index for index, name in enumerate(description.spec.classes)}
    found: dict[str, tuple[Path, int, str]] = {}
    for row in rows:
        if row.label not in classes:
            raise DatasetError(f"{row.place}: {unknown_name('class', row.label, classes)}")
        if row.image in found:
            raise DatasetError(f"{row.place}: the image {row.image!r} is there twice: also at {found[row.image][2]}.")
        path = description.root / row.image
        if not os.path.lexists(path):
            raise DatasetError(f"{row.place}: there is no image {path}. Paths start from {description.root}.")
        found[row.image] = path, classes[row.label], row.place
    if not found:
        raise DatasetError(
            f"Dataset {description.spec.name!r} has an empty split: a list in {description.root} has no lines."
        )
    return found


def _refuse_shared(found: Mapping[str, Mapping[str, tuple[Path, int, str]]], rows: Mapping[str, list[Row]]) -> None:
    """Refuse an image that is for training and for testing."""
    if "test" not in rows:
        return
    train = {os.path.normpath(file): place for file, _, place in found["train"].values()}
    for name, (file, _, place) in found["test"].items():
        if (other := train.get(os.path.normpath(file))) is not None:
            raise DatasetError(
                f"{place}: the image {name!r} is in the training list too: {other}. Leave it out of one."
            )


LAYOUTS.add("image_list", ImageList())
