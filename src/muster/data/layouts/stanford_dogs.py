"""Stanford Dogs: folders of images, and the official lists as MATLAB files.

::

    dogs/
      Images/n02085620-Chihuahua/n02085620_10074.jpg
      train_list.mat                          (or below lists/) file_list and labels, counted from 1
      test_list.mat

Classes are in the order of their numbers; the name of one is what its folder is called after the first hyphen.
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

_IMAGES = "Images"
_LISTS = {"train": "train_list.mat", "test": "test_list.mat"}


class StanfordDogs(Layout):
    """Two lists beside ``Images/``."""

    def recognises(self, folder: Path) -> bool:
        """By the list of training images."""
        return (folder / _IMAGES).is_dir() and _place(folder, _LISTS["train"]).is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are paths below ``Images/``, without their ending."""
        root = heading.root
        numbers: dict[int, str] = {}
        listed = {split: _listed(_place(root, name), numbers) for split, name in _LISTS.items()}
        used = sorted(numbers)
        classes = [numbers[number].partition("-")[2] or numbers[number] for number in used]
        description = describe(heading, classes, "the lists say")
        splits = {
            split: {
                str(Path(path).with_suffix("")): (root / _IMAGES / path, used.index(number))
                for path, number in each.items()
            }
            for split, each in listed.items()
        }
        if shared := sorted(set(splits["train"]) & set(splits["test"])):
            raise DatasetError(f"{_place(root, _LISTS['test'])}: the image {shared[0]!r} is in {_LISTS['train']} too.")
        for split, images in splits.items():
            told = str(_place(root, _LISTS[split]))
            require_images({name: file for name, (file, _) in images.items()}, told)
        return open_copy(description, splits, reference)


def _place(root: Path, name: str) -> Path:
    """A list, which the archive has in no folder, and people often in one."""
    return root / name if (root / name).is_file() else root / "lists" / name


def _listed(path: Path, numbers: dict[int, str]) -> dict[str, int]:
    """The number of the class of each image; the folders of the classes are added."""
    content = read_matlab(path)
    files, labels = column_of(path, content, "file_list"), column_of(path, content, "labels")
    if len(files) != len(labels) or not files:
        raise DatasetError(f"{path}: expected as many labels as files, but got {len(labels)} for {len(files)}.")
    found: dict[str, int] = {}
    for row, (file, label) in enumerate(zip(files, labels, strict=True), start=1):
        name, number = _text(path, row, file), _number(path, row, label)
        breed = name.partition("/")[0]
        if numbers.setdefault(number, breed) != breed:
            raise DatasetError(
                f"{path}, row {row}: class {number} is {numbers[number]!r} elsewhere, but {breed!r} here."
            )
        if name in found:
            raise DatasetError(f"{path}, row {row}: the image {name!r} is there twice.")
        found[name] = number
    return found


def _text(path: Path, row: int, value: Any) -> str:
    if not isinstance(value, str) or "/" not in value:
        raise DatasetError(f"{path}, row {row}: expected FOLDER/IMAGE, but got {value!r}.")
    return value


def _number(path: Path, row: int, value: Any) -> int:
    if not float(value).is_integer() or value < 1:
        raise DatasetError(f"{path}, row {row}: expected the number of a class, from 1, but got {value}.")
    return int(value)


LAYOUTS.add("stanford_dogs", StanfordDogs())
