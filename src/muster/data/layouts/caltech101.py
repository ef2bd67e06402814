"""Caltech-101: a folder of images for each class, without a split.

::

    caltech-101/
      101_ObjectCategories/accordion/image_0001.jpg
      101_ObjectCategories/BACKGROUND_Google/...       (left out: it is no class of objects)

Of each class :data:`TRAINING_IMAGES` images are for training, as is usual, and all others for testing. Which they are
is told by a hash of their names, and so is the same wherever the folder lies.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from muster.data.dataset_yaml import IMAGE_KEYS, Heading
from muster.data.images import IMAGE_SUFFIXES
from muster.data.labelled_images import Label
from muster.data.layout import LAYOUTS, Layout
from muster.data.published_images import describe, open_copy
from muster.data.spec import Dataset
from muster.errors import DatasetError

FOLDER, LEFT_OUT = "101_ObjectCategories", "BACKGROUND_Google"
TRAINING_IMAGES = 30
"""Of each class; of a class with fewer than that, and one more, half of them."""

_SPLIT_SEED = 0


class Caltech101(Layout):
    """Folders of classes below one."""

    def recognises(self, folder: Path) -> bool:
        """By the name of the folder of all classes."""
        return (folder / FOLDER).is_dir()

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are paths below the folder of all classes, without their ending."""
        root = heading.root
        classes = sorted(each.name for each in (root / FOLDER).iterdir() if each.is_dir() and each.name != LEFT_OUT)
        description = describe(heading, classes, "the names of the folders say", IMAGE_KEYS)
        splits: dict[str, dict[str, tuple[Path, Label]]] = {"train": {}, "test": {}}
        for label, name in enumerate(classes):
            for split, files in zip(splits, _divided(root / FOLDER / name), strict=True):
                splits[split] |= {f"{name}/{file.stem}": (file, label) for file in files}
        return open_copy(description, splits, reference)


def _divided(folder: Path) -> tuple[list[Path], list[Path]]:
    """Training and test images of a class, each in the order of their names."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if len(files) < 2:
        raise DatasetError(f"{folder}: expected at least 2 images, to train and to test with, but got {len(files)}.")
    count = TRAINING_IMAGES if len(files) > TRAINING_IMAGES else len(files) // 2
    train = set(sorted(files, key=_hash)[:count])
    return [file for file in files if file in train], [file for file in files if file not in train]


def _hash(file: Path) -> bytes:
    return hashlib.sha256(f"{_SPLIT_SEED}:{file.parent.name}/{file.stem}".encode()).digest()


LAYOUTS.add("caltech101", Caltech101())
