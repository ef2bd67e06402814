"""ImageNet (ILSVRC 2012) as its archives have it: folders of classes to train with, and one folder to validate with.

::

    imagenet/                                  (of Kaggle: ILSVRC/Data/CLS-LOC/ has train/ and val/)
      train/n01440764/n01440764_10026.JPEG
      val/ILSVRC2012_val_00000001.JPEG
      ILSVRC2012_devkit_t12/data/meta.mat, ILSVRC2012_validation_ground_truth.txt
      LOC_val_solution.csv                     (of Kaggle, in place of the development kit)

Classes are called by their WordNet numbers, in that order, as where ``val/`` has folders (then the layout is
``image_folders``): so the same images are the same dataset in both forms.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from muster.data.dataset_yaml import Heading
from muster.data.labelled_images import Label
from muster.data.layout import LAYOUTS, Layout
from muster.data.matlab import read_matlab
from muster.data.published_images import describe, open_copy
from muster.data.spec import Dataset
from muster.data.text_lists import lines_of, require_images, text_lines, whole_number
from muster.errors import DatasetError

KIT = "ILSVRC2012_devkit_t12/data"
META, TRUTH, SOLUTION = f"{KIT}/meta.mat", f"{KIT}/ILSVRC2012_validation_ground_truth.txt", "LOC_val_solution.csv"
_KAGGLE = "ILSVRC/Data/CLS-LOC"
_SUFFIX = ".JPEG"
_LOOKED_AT = 20


class ImageNet(Layout):
    """Training folders, and a flat folder with a list."""

    def recognises(self, folder: Path) -> bool:
        """By the list of either form, and images that lie in ``val/`` itself."""
        if not ((folder / META).is_file() or (folder / SOLUTION).is_file()):
            return False
        images = _images(folder)
        return (images / "train").is_dir() and _is_flat(images / "val")

    def place(self, root: Path) -> Path:
        """See :meth:`Layout.place`: Kaggle's folders begin further below."""
        return _images(root)

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are ``CLASS/IMAGE`` and names of images, without their ending."""
        root, images = heading.root, _images(heading.root)
        if not (images / "train").is_dir():
            raise DatasetError(f"{images}: expected the folder train/, with a folder of images for each class.")
        classes = sorted(each.name for each in os.scandir(images / "train") if each.is_dir())
        description = describe(heading, classes, "the folders of train/ say")
        places = {name: label for label, name in enumerate(classes)}
        test = _from_solution(root, places) if (root / SOLUTION).is_file() else _from_kit(root, places)
        splits: dict[str, dict[str, tuple[Path, Label]]] = {
            "train": _training(images / "train", classes),
            "test": {name: (images / "val" / f"{name}{_SUFFIX}", label) for name, label in test.items()},
        }
        require_images({name: file for name, (file, _) in splits["test"].items()}, f"lists in {root}")
        return open_copy(description, splits, reference)


def _images(root: Path) -> Path:
    """Folder of ``train`` and ``val``."""
    return root / _KAGGLE if (root / _KAGGLE).is_dir() else root


def _is_flat(folder: Path) -> bool:
    """Whether images lie in a folder itself, and not in others in it."""
    try:
        with os.scandir(folder) as entries:
            some = [entry.is_file() and entry.name.endswith(_SUFFIX) for _, entry in zip(range(_LOOKED_AT), entries)]  # noqa: B905
    except OSError:
        return False
    return any(some)


def _training(folder: Path, classes: list[str]) -> dict[str, tuple[Path, Label]]:
    found: dict[str, tuple[Path, Label]] = {}
    for label, name in enumerate(classes):
        with os.scandir(folder / name) as entries:
            files = sorted(entry.name for entry in entries if entry.name.endswith(_SUFFIX))
        found |= {f"{name}/{file.removesuffix(_SUFFIX)}": (folder / name / file, label) for file in files}
    if not found:
        raise DatasetError(f"{folder}: expected images CLASS/NAME{_SUFFIX}, but there is none. Unpack the archives.")
    return found


def _from_kit(root: Path, places: dict[str, int]) -> dict[str, int]:
    """The class of each validation image by the development kit: a number a line, image after image."""
    names, found = _names_of_numbers(root / META), {}
    path = root / TRUTH
    for row, (place, (text,)) in enumerate(lines_of(path, 1), start=1):
        number = whole_number(place, text)
        if number not in names:
            raise DatasetError(f"{place}: {root / META} knows no class of the number {number}.")
        found[f"ILSVRC2012_val_{row:08}"] = _place_of(places, names[number], place)
    if not found:
        raise DatasetError(f"{path} names no class. Unpack the development kit again.")
    return found


def _names_of_numbers(path: Path) -> dict[int, str]:
    """The WordNet number of each class that has no other below it."""
    synsets = read_matlab(path).get("synsets")
    wanted = ("ILSVRC2012_ID", "WNID", "num_children")
    if synsets is None or not set(wanted) <= set(getattr(synsets.dtype, "names", None) or ()):
        raise DatasetError(f"{path}: expected the variable synsets with {', '.join(wanted)}. Unpack the kit again.")
    rows = zip(*(synsets[name].reshape(-1).tolist() for name in wanted), strict=True)
    return {int(number): str(name) for number, name, children in rows if int(children) == 0}


def _from_solution(root: Path, places: dict[str, int]) -> dict[str, int]:
    """The class of each validation image by Kaggle's list: its name, and the class with boxes, several times maybe."""
    path = root / SOLUTION
    reader = csv.DictReader(text_lines(path, "The list of validation images"))
    if not {"ImageId", "PredictionString"} <= set(reader.fieldnames or ()):
        raise DatasetError(f"{path}: expected the columns ImageId and PredictionString in its first line.")
    found = {}
    for cells in reader:
        place, words = f"{path}, line {reader.line_num}", (cells["PredictionString"] or "").split()
        if not words or not cells["ImageId"]:
            raise DatasetError(f"{place}: expected the name of an image, and a class with the corners of its boxes.")
        found[cells["ImageId"]] = _place_of(places, words[0], place)
    if not found:
        raise DatasetError(f"{path} names no image.")
    return found


def _place_of(places: dict[str, int], name: str, place: str) -> int:
    if name not in places:
        raise DatasetError(f"{place}: class {name} has no folder in train/. Unpack the archives of all classes.")
    return places[name]


LAYOUTS.add("imagenet", ImageNet())
