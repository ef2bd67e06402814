"""Oxford's 102 flowers: numbered images, and their classes and splits as MATLAB files.

::

    flowers102/
      jpg/image_00001.jpg
      imagelabels.mat         labels: the class of each image, counted from 1
      setid.mat               trnid and valid for training, tstid for testing: numbers of images

Classes have no names: they are called by their numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muster.data.dataset_yaml import Heading
from muster.data.layout import LAYOUTS, Layout
from muster.data.matlab import column_of, read_matlab
from muster.data.published_images import describe, open_copy
from muster.data.spec import Dataset
from muster.data.text_lists import require_images
from muster.errors import DatasetError

_LABELS, _SPLITS, _IMAGES = "imagelabels.mat", "setid.mat", "jpg"
_LISTS = {"train": ("trnid", "valid"), "test": ("tstid",)}


class Flowers102(Layout):
    """Told by its two MATLAB files."""

    def recognises(self, folder: Path) -> bool:
        """By the labels and the splits."""
        return (folder / _LABELS).is_file() and (folder / _SPLITS).is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the names of the images."""
        root = heading.root
        labels = _numbers(root / _LABELS, column_of(root / _LABELS, read_matlab(root / _LABELS), "labels"))
        used = sorted(set(labels))
        description = describe(heading, [str(number) for number in used], f"{_LABELS} says")
        content, splits = read_matlab(root / _SPLITS), {}
        for split, keys in _LISTS.items():
            numbers = [n for key in keys for n in _numbers(root / _SPLITS, column_of(root / _SPLITS, content, key))]
            if max(numbers, default=0) > len(labels):
                raise DatasetError(f"{root / _SPLITS}: image {max(numbers)} has no label in {_LABELS}.")
            names = {f"image_{number:05d}": used.index(labels[number - 1]) for number in numbers}
            splits[split] = {name: (root / _IMAGES / f"{name}.jpg", label) for name, label in names.items()}
            require_images({name: file for name, (file, _) in splits[split].items()}, str(root / _SPLITS))
        if shared := sorted(set(splits["train"]) & set(splits["test"])):
            raise DatasetError(f"{root / _SPLITS}: {shared[0]} is for training and for testing.")
        return open_copy(description, splits, reference)


def _numbers(path: Path, values: list[Any]) -> list[int]:
    for row, value in enumerate(values, start=1):
        if not float(value).is_integer() or value < 1:
            raise DatasetError(f"{path}, number {row}: expected a whole number from 1, but got {value}.")
    return [int(value) for value in values]


LAYOUTS.add("flowers102", Flowers102())
