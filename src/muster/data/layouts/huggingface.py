"""Datasets that the library ``datasets`` saved to disk (``save_to_disk``), with a column of images and one of masks.

::

    mydata/
      dataset_dict.json                        (without it: one set, which is divided)
      train/data-00000-of-00001.arrow, dataset_info.json, state.json
      validation/...                           the test split, unless there is one called test

Classes come from ``dataset.yaml`` beside it. ``columns: {image: NAME, mask: NAME}`` names columns that are called
otherwise, ``splits: {train: NAME, test: NAME}`` other sets. A set with one column of images and one of class labels is
one of whole images: its classes are those of that column, and ``columns: {label: NAME}`` names it. The files are Arrow
tables, so the library is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from muster.data.content import prefix_of_bytes
from muster.data.dataset_yaml import MASK_KEYS, Description, Heading, read_description, read_heading
from muster.data.images import Header, StoredMask, read_header, read_image, read_stored_mask
from muster.data.json_files import read_json
from muster.data.labelled_images import labelled_split
from muster.data.layout import LAYOUTS, Layout
from muster.data.mask_values import MaskValues
from muster.data.patterns import require_parts
from muster.data.sample_reader import ImageSource, MaskSource, make_split
from muster.data.spec import Dataset
from muster.data.splits import compare_counts, divide_aloud
from muster.errors import DatasetError, unknown_name
from muster.user_files import open_regular

if TYPE_CHECKING:
    import pyarrow as pa

STATE, SETS, INFO = "state.json", "dataset_dict.json", "dataset_info.json"
IMAGE_COLUMNS = ("image", "img", "pixel_values", "images")
"""Names of the column of images, of which the first that is there counts."""

MASK_COLUMNS = (
    "mask", "annotation", "label", "labels", "segmentation", "segmentation_mask", "semantic_segmentation", "label_map",
)  # fmt: skip
"""Likewise of masks."""

CLASS_COLUMNS = ("label", "labels", "fine_label")
"""Likewise of classes, where images have no masks."""

_TITLE = "A set that the library datasets saved"
_TEST_SETS = ("test", "validation", "val", "valid")


class HuggingFace(Layout):
    """A ``DatasetDict`` or a single ``Dataset``."""

    def recognises(self, folder: Path) -> bool:
        """By its own descriptions."""
        return (folder / SETS).is_file() or ((folder / STATE).is_file() and (folder / INFO).is_file())

    def open(self, folder: Path, reference: str) -> Dataset:
        """See :meth:`Layout.open`."""
        heading = read_heading(folder)
        places = _sets(heading)
        info = read_json(places["train"] / INFO)
        said = {key: str(info.get(old) or "") for key, old in (("licence", "license"), ("citation", "citation"))}
        keys = (*MASK_KEYS, "splits", "columns")
        if (label := _class_column(heading, info)) is not None:
            return _open_classes(heading, places, info, said, label, reference)
        description = read_description(folder, heading.unsaid | said, places["train"] / INFO, keys)
        rows = {name: Rows(place, *_columns(description, place)) for name, place in places.items()}
        names = {name: [f"{number:07}" for number in range(len(each))] for name, each in rows.items()}
        if "test" not in rows:
            every, rows["test"] = names["train"], rows["train"]
            names["train"], names["test"] = divide_aloud(heading.root, _TITLE, every, description.test_is_seeded)
        train, test = (
            make_split(
                description,
                name,
                RowImages(description.spec.name, rows[name], tuple(names[name])),
                RowMasks(description.spec.name, rows[name], description.masks),
            )
            for name in ("train", "test")
        )
        compare_counts(description, {"train": len(train), "test": len(test)})
        return Dataset(description.spec, train, test, reference)


@dataclass
class Rows:
    """A saved set; each process maps its files into memory when it first reads from them.

    Attributes:
        folder: Where it lies.
        image: Name of the column of images.
        mask: Name of the column of masks.
    """

    folder: Path
    image: str
    mask: str

    @cached_property
    def table(self) -> pa.Table:
        """The rows.

        Raises:
            DatasetError: If a file is missing or damaged.
        """
        import pyarrow as pa  # here, as every folder that is opened is shown to every layout

        files = read_json(self.folder / STATE).get("_data_files") or []
        try:
            parts = [
                pa.ipc.open_stream(pa.memory_map(str(self.folder / each["filename"]))).read_all() for each in files
            ]
            return pa.concat_tables(parts).select([self.image, self.mask])
        except (OSError, pa.ArrowInvalid, KeyError, TypeError) as error:
            raise DatasetError(f"The set in {self.folder} cannot be read: {error}. Save it again.") from error

    def __len__(self) -> int:
        """Number of images."""
        return int(self.table.num_rows)

    def __getstate__(self) -> dict[str, Any]:
        """Files are mapped anew by whoever is handed this."""
        return {key: value for key, value in self.__dict__.items() if key != "table"}

    def content(self, column: str, identifier: str) -> bytes:
        """The file that a cell holds.

        Args:
            column: Which column.
            identifier: Number of the row.

        Returns:
            Its bytes.

        Raises:
            DatasetError: If it is empty, or names a file that is not there.
        """
        cell = self.table.column(column)[int(identifier)].as_py() or {}
        if cell.get("bytes"):
            found: bytes = cell["bytes"]
            return found
        if not cell.get("path"):
            raise DatasetError(f"{self.called(column, identifier)} is empty.")
        try:
            with open_regular(self.folder / cell["path"]) as file:
                return file.read()
        except OSError as error:
            raise DatasetError(
                f"{self.called(column, identifier)} is in {cell['path']}, which cannot be read: {error.strerror}."
            ) from error

    def called(self, column: str, identifier: str) -> str:
        """What messages call a cell."""
        return f"column {column!r} of row {int(identifier)} in {self.folder}"


class RowImages(ImageSource):
    """Images in a column."""

    def __init__(self, dataset: str, rows: Rows, names: tuple[str, ...]) -> None:
        """Remember which.

        Args:
            dataset: Name of the dataset, for messages.
            rows: The set.
            names: Identifiers of the rows that belong to the split.
        """
        self.dataset, self.rows, self.names = dataset, rows, names

    def __iter__(self) -> Iterator[str]:
        """See :class:`ImageSource`."""
        return iter(self.names)

    def __contains__(self, identifier: object) -> bool:
        """See :class:`ImageSource`."""
        return isinstance(identifier, str) and identifier.isdigit() and int(identifier) < len(self.rows)

    def called(self, identifier: str) -> str:
        """See :class:`ImageSource`."""
        return f"Image in {self.rows.called(self.rows.image, identifier)} of dataset {self.dataset!r}"

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
        return self.rows.content(self.rows.image, identifier)


class RowMasks(MaskSource):
    """Masks in a column."""

    def __init__(self, dataset: str, rows: Rows, values: MaskValues) -> None:
        """Remember which.

        Args:
            dataset: Name of the dataset, for messages.
            rows: The set.
            values: What the stored values mean.
        """
        self.dataset, self.rows, self.values = dataset, rows, values

    def called(self, identifier: str) -> str:
        """See :class:`MaskSource`."""
        return self.rows.called(self.rows.mask, identifier)

    def read(self, identifier: str) -> StoredMask:
        """See :class:`MaskSource`."""
        what = f"Mask in {self.called(identifier)} of dataset {self.dataset!r}"
        content = self.rows.content(self.rows.mask, identifier)
        stored = read_stored_mask(content, colours=self.values.colours, what=what)
        return StoredMask(self.values.to_indices(stored.values, self.called(identifier), self.dataset), stored.tag)


def _sets(heading: Heading) -> dict[str, Path]:
    """Folder of each split."""
    path, root = heading.path, heading.root
    if not (root / SETS).is_file():
        return {"train": root}
    names = [str(name) for name in read_json(root / SETS).get("splits") or []]
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
    return {split: root / name for split, name in wanted.items()}


def _class_column(heading: Heading, info: Mapping[str, Any]) -> str | None:
    """Name of the column of classes if the set is one of whole images: it has one column of images, none of masks."""
    features = info.get("features") or {}
    kinds = {name: kind.get("_type") for name, kind in features.items() if isinstance(kind, dict)}
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    said = heading.options.get("columns", {})
    if not classes or list(kinds.values()).count("Image") != 1 or not isinstance(said, dict) or "mask" in said:
        return None
    wanted = said.get("label", classes[0] if len(classes) == 1 else _first(CLASS_COLUMNS, classes))
    if wanted not in classes:
        raise DatasetError(
            f"{heading.root}: it is not clear which column has the class of an image: {', '.join(classes)}. Say it in "
            f"{heading.path.name}: 'columns: {{label: NAME}}'."
        )
    return str(wanted)


def _open_classes(
    heading: Heading,
    places: Mapping[str, Path],
    info: Mapping[str, Any],
    said: dict[str, str],
    label: str,
    reference: str,
) -> Dataset:
    """A set whose images have one class each."""
    features = info["features"]
    image = next(name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image")
    names = [str(name) for name in features[label].get("names") or []]
    known = {**heading.unsaid, **said, "classes": names}
    description = read_description(heading.path.parent, known, places["train"] / INFO, ("splits", "columns"), None)
    if list(description.spec.classes) != names:
        raise DatasetError(f"{description.path}: leave 'classes' out: the column {label!r} says them.")
    spec = replace(description.spec, task="classification")
    rows = {split: Rows(place, image, label) for split, place in places.items()}
    labels = {split: _classes_of(each, names) for split, each in rows.items()}
    if "test" not in rows:
        parts = divide_aloud(heading.root, _TITLE, labels["train"], description.test_is_seeded)
        every, rows["test"] = labels["train"], rows["train"]
        labels = {
            split: {name: every[name] for name in part} for split, part in zip(("train", "test"), parts, strict=True)
        }
    train, test = (
        labelled_split(spec, split, RowImages(spec.name, rows[split], tuple(labels[split])), labels[split])
        for split in ("train", "test")
    )
    compare_counts(description, {"train": len(train), "test": len(test)})
    return Dataset(spec, train, test, reference)


def _classes_of(rows: Rows, names: Sequence[str]) -> dict[str, int]:
    """The class of each row."""
    found = {}
    for number, label in enumerate(rows.table.column(rows.mask).to_pylist()):
        if not isinstance(label, int) or not 0 <= label < len(names):
            raise DatasetError(
                f"{rows.called(rows.mask, str(number))} is {label}, but expected a class from 0 to {len(names) - 1}. "
                "If this set has no labels, name another one in dataset.yaml: 'splits: {train: NAME, test: NAME}'."
            )
        found[f"{number:07}"] = label
    return found


def _columns(description: Description, place: Path) -> tuple[str, str]:
    """Names of the columns of images and of masks."""
    features = read_json(place / INFO).get("features") or {}
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
