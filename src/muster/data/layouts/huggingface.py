"""Datasets of the library ``datasets``, with a column of images and one of masks or classes: saved, or as on a hub.

::

    mydata/
      dataset_dict.json                        (without it: one set, which is divided)
      train/data-00000-of-00001.arrow, dataset_info.json, state.json
      validation/...                           the test split, unless there is one called test

    mydata/                                    as hubs have them
      data/train-00000-of-00002.parquet, data/train-00001-of-00002.parquet
      data/test-00000-of-00001.parquet

Classes of masks come from ``dataset.yaml`` beside it. ``columns: {image: NAME, mask: NAME}`` names columns that are
called otherwise, ``splits: {train: NAME, test: NAME}`` other sets. A set with one column of images and one of class
labels is one of whole images: its classes are those of that column, and ``columns: {label: NAME}`` names it. Of a
column of lists of class labels an image has several. A set with a column of texts and one of labels is one of texts
(:mod:`muster.data.text_rows`). The library is not needed: the files are Arrow tables or Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from muster.data.content import prefix_of_bytes
from muster.data.dataset_yaml import MASK_KEYS, Description, Heading, read_description
from muster.data.images import Header, StoredMask, read_header, read_image, read_stored_mask
from muster.data.json_files import read_json
from muster.data.labelled_images import Label, labelled_split, several_classes
from muster.data.layout import LAYOUTS, Layout
from muster.data.mask_values import MaskValues
from muster.data.patterns import require_parts
from muster.data.published_images import describe
from muster.data.sample_reader import ImageSource, MaskSource, make_split
from muster.data.saved_rows import INFO, STATE, Rows, SavedRows, folder_of_parquet, parquet_sets
from muster.data.spec import Dataset
from muster.data.splits import compare_counts, divide_aloud
from muster.data.text_rows import open_text_rows, text_columns
from muster.errors import DatasetError, unknown_name

SETS = "dataset_dict.json"
IMAGE_COLUMNS = ("image", "img", "pixel_values", "images")
"""Names of the column of images, of which the first that is there counts."""

MASK_COLUMNS = (
    "mask", "annotation", "label", "labels", "segmentation", "segmentation_mask", "semantic_segmentation", "label_map",
)  # fmt: skip
"""Likewise of masks."""

CLASS_COLUMNS = ("label", "labels", "fine_label")
"""Likewise of classes, where images have no masks."""

_LISTS = ("Sequence", "List", "LargeList")
"""What the library calls columns of lists."""

_TITLE = "A set that the library datasets saved"
_TEST_SETS = ("test", "validation", "val", "valid")


class HuggingFace(Layout):
    """A ``DatasetDict`` or a single ``Dataset``."""

    def recognises(self, folder: Path) -> bool:
        """By its own descriptions, or by the names of Parquet files."""
        saved = (folder / SETS).is_file() or ((folder / STATE).is_file() and (folder / INFO).is_file())
        return saved or folder_of_parquet(folder) is not None

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`."""
        rows = _sets(heading)
        info = rows["train"].info
        said = {key: str(info.get(old) or "") for key, old in (("licence", "license"), ("citation", "citation"))}
        keys = (*MASK_KEYS, "splits", "columns")
        if (columns_of_texts := text_columns(heading, info)) is not None:
            return open_text_rows(heading, rows, said, columns_of_texts, reference)
        if (label := _class_column(heading, info)) is not None:
            return _open_classes(heading, rows, info, said, label, reference)
        description = read_description(heading, heading.unsaid | said, _source(rows["train"]), keys)
        columns = {name: _columns(description, each) for name, each in rows.items()}
        names = {name: [f"{number:07}" for number in range(len(each))] for name, each in rows.items()}
        if "test" not in rows:
            every, rows["test"], columns["test"] = names["train"], rows["train"], columns["train"]
            names["train"], names["test"] = divide_aloud(description, _TITLE, every)
        train, test = (
            make_split(
                description,
                name,
                RowImages(description.spec.name, rows[name], columns[name][0], tuple(names[name])),
                RowMasks(description.spec.name, rows[name], columns[name][1], description.masks),
            )
            for name in ("train", "test")
        )
        compare_counts(description, {"train": len(train), "test": len(test)})
        return Dataset(description.spec, train, test, reference)


class RowImages(ImageSource):
    """Images in a column."""

    def __init__(self, dataset: str, rows: Rows, column: str, names: tuple[str, ...]) -> None:
        """Remember which.

        Args:
            dataset: Name of the dataset, for messages.
            rows: The set.
            column: Name of the column.
            names: Identifiers of the rows that belong to the split.
        """
        self.dataset, self.rows, self.column, self.names = dataset, rows, column, names

    def __iter__(self) -> Iterator[str]:
        """See :class:`ImageSource`."""
        return iter(self.names)

    def __contains__(self, identifier: object) -> bool:
        """See :class:`ImageSource`."""
        return isinstance(identifier, str) and identifier.isdigit() and int(identifier) < len(self.rows)

    def called(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        return f"Image in {self.rows.called(self.column, identifier)} of dataset {self.dataset!r}"

    def header(self, identifier: str) -> Header:
        """See :class:`ImageSource`."""
        return read_header(self._bytes(identifier), what=self.called(identifier))

    def read(self, identifier: str, as_stored: bool) -> Tensor:
        """See :class:`ImageSource`."""
        return read_image(self._bytes(identifier), as_stored=as_stored, what=self.called(identifier))

    def content(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        return prefix_of_bytes(self._bytes(identifier))

    def _bytes(self, identifier: str) -> bytes:
        return self.rows.content(self.column, identifier)


class RowMasks(MaskSource):
    """Masks in a column."""

    def __init__(self, dataset: str, rows: Rows, column: str, values: MaskValues) -> None:
        """Remember which.

        Args:
            dataset: Name of the dataset, for messages.
            rows: The set.
            column: Name of the column.
            values: What the stored values mean.
        """
        self.dataset, self.rows, self.column, self.values = dataset, rows, column, values

    def called(self, identifier: str) -> str:
        """See :class:`MaskSource`."""
        return self.rows.called(self.column, identifier)

    def read(self, identifier: str) -> StoredMask:
        """See :class:`MaskSource`."""
        what = f"Mask in {self.called(identifier)} of dataset {self.dataset!r}"
        content = self.rows.content(self.column, identifier)
        stored = read_stored_mask(content, colours=self.values.colours, what=what)
        return StoredMask(self.values.to_indices(stored.values, self.called(identifier), self.dataset), stored.tag)


def _sets(heading: Heading) -> dict[str, Rows]:
    """The set of each split."""
    path, root = heading.path, heading.root
    place = folder_of_parquet(root)
    there: Mapping[str, Rows]
    if (root / SETS).is_file():
        names = [str(name) for name in read_json(root / SETS).get("splits") or []]
        there = {name: SavedRows(root / name) for name in names}
    elif (root / STATE).is_file() or place is None:
        return {"train": SavedRows(root)}
    else:
        there = parquet_sets(place)
        names = list(there)
    said: dict[str, str] = {}
    for split, parts in heading.splits.items():
        require_parts(path, split, {key or "set": part for key, part in parts.items()}, ("set",))
        said[split] = next(iter(parts.values()))
    tests = [name for name in _TEST_SETS if name in names]
    wanted = {"train": "train"} | ({"test": tests[0]} if tests else {}) | said
    if heading.test_is_seeded:
        wanted.pop("test", None)
    for split, name in wanted.items():
        if name not in names:
            raise DatasetError(
                f"Split {split!r} of {root}: {unknown_name('set', name, names)} Name one in {path.name}: 'splits: "
                "{train: NAME, test: NAME}'."
            )
    return {split: there[name] for split, name in wanted.items()}


def _source(rows: Rows) -> Path:
    """The file that says what a set is, for messages."""
    return rows.folder / INFO if isinstance(rows, SavedRows) else Path(rows.place)


def _class_column(heading: Heading, info: Mapping[str, Any]) -> str | None:
    """Name of the column of classes if the set is one of whole images: it has one column of images, none of masks."""
    features = info.get("features") or {}
    images = [name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image"]
    classes = [name for name, kind in features.items() if _class_label(kind) is not None]
    said = heading.options.get("columns", {})
    if not classes or len(images) != 1 or not isinstance(said, dict) or "mask" in said:
        return None
    wanted = said.get("label", classes[0] if len(classes) == 1 else _first(CLASS_COLUMNS, classes))
    if wanted not in classes:
        raise DatasetError(
            f"{heading.root}: it is not clear which column has the class of an image: {', '.join(classes)}. Say it in "
            f"{heading.path.name}: 'columns: {{label: NAME}}'."
        )
    return str(wanted)


def _class_label(kind: Any) -> tuple[Mapping[str, Any], bool] | None:
    """What a column says of its classes, and whether a cell has a list of them; ``None`` for other columns."""
    inner = kind[0] if isinstance(kind, list) and kind else kind
    several = isinstance(kind, list) or (isinstance(kind, dict) and kind.get("_type") in _LISTS)
    if isinstance(inner, dict) and inner.get("_type") in _LISTS:
        inner = inner.get("feature")
    return (inner, several) if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" else None


def _open_classes(
    heading: Heading,
    rows: Mapping[str, Rows],
    info: Mapping[str, Any],
    said: dict[str, str],
    label: str,
    reference: str,
) -> Dataset:
    """A set whose images have one class each, or several."""
    rows, features, told = dict(rows), info["features"], _class_label(info["features"][label])
    assert told is not None  # see :func:`_class_column`
    image = next(name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image")
    names, several = [str(name) for name in told[0].get("names") or []], told[1]
    keys = ("splits", "columns")
    description = describe(heading, names, f"the column {label!r} says", keys, said, _source(rows["train"]))
    spec = replace(description.spec, task="multilabel" if several else "classification")
    labels = {split: _labels_of(each, label, len(names), several) for split, each in rows.items()}
    if "test" not in rows:
        parts = divide_aloud(description, _TITLE, labels["train"])
        every, rows["test"] = labels["train"], rows["train"]
        labels = {
            split: {name: every[name] for name in part} for split, part in zip(("train", "test"), parts, strict=True)
        }
    train, test = (
        labelled_split(spec, split, RowImages(spec.name, rows[split], image, tuple(labels[split])), labels[split])
        for split in ("train", "test")
    )
    compare_counts(description, {"train": len(train), "test": len(test)})
    return Dataset(spec, train, test, reference)


def _labels_of(rows: Rows, column: str, count: int, several: bool) -> dict[str, Label]:
    """The label of each row."""
    found: dict[str, Label] = {}
    for number, cell in enumerate(rows.column(column)):
        classes = cell if several and isinstance(cell, list) else [cell]
        odd = [each for each in classes if not isinstance(each, int) or not 0 <= each < count]
        if odd:
            raise DatasetError(
                f"{rows.called(column, str(number))} is {odd[0]}, but expected a class from 0 to {count - 1}. If this "
                "set has no labels, name another one in dataset.yaml: 'splits: {train: NAME, test: NAME}'."
            )
        found[f"{number:07}"] = several_classes(count, classes) if several else classes[0]
    return found


def _columns(description: Description, rows: Rows) -> tuple[str, str]:
    """Names of the columns of images and of masks."""
    features, place = rows.info.get("features") or {}, rows.place
    images = [name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image"]
    said = description.options.get("columns", {})
    if not isinstance(said, dict) or not set(said) <= {"image", "mask"}:
        raise DatasetError(f"{description.path}: key 'columns': expected names for image and mask, but got {said!r}.")
    image = said.get("image", _first(IMAGE_COLUMNS, images))
    others = [name for name in images if name != image]
    mask = said.get("mask", others[0] if len(others) == 1 else _first(MASK_COLUMNS, others))
    for kind, name in (("image", image), ("mask", mask)):
        if name not in images:
            told = f"there is no column {name!r} of images" if name else "it is not clear which column that is"
            raise DatasetError(
                f"{place}: {told} for {kind}. Columns of images: {', '.join(images) or 'none'} ({', '.join(features)})"
                f". Say it in {description.path.name}: 'columns: {{image: NAME, mask: NAME}}'."
            )
    return str(image), str(mask)


def _first(names: Sequence[str], there: Sequence[str]) -> str | None:
    return next((name for name in names if name in there), None)


LAYOUTS.add("huggingface", HuggingFace())
