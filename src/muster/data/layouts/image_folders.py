"""Image classification: a folder of images for each class, as torchvision, timm and many archives have it.

::

    mydata/
      dataset.yaml                  (optional)
      train/cat/1.jpg
      train/dog/2.jpg
      test/cat/3.jpg                (or val/)
      test/dog/4.jpg

The classes are the names of the folders below ``train``, in the order of their code points, unless ``dataset.yaml``
names them in another order. Folders of classes may hold folders of images.
"""

from __future__ import annotations

import os
import unicodedata
import warnings
from dataclasses import replace
from pathlib import Path

from muster.data.dataset_yaml import IMAGE_KEYS, Heading, read_description
from muster.data.images import IMAGE_SUFFIXES
from muster.data.labelled_images import dataset_of_labelled_files
from muster.data.layout import LAYOUTS, Layout
from muster.data.spec import Dataset
from muster.data.splits import compare_counts
from muster.errors import DatasetError, unknown_name

_LOOKED_AT = 20
"""Entries of a class's folder that are looked at to recognise the layout."""


class ImageFolders(Layout):
    """``train/CLASS/IMAGE`` and ``test/CLASS/IMAGE``."""

    def recognises(self, folder: Path) -> bool:
        """By at least two folders below ``train`` with images in them, none of which holds masks or depth maps.

        Where there is ``test`` or ``val`` without a folder in it, it is something else.
        """
        train = folder / "train"
        names = _folders(train)
        has_truths = "masks" in names or {"images", "depth"} <= set(names)
        if len(names) < 2 or has_truths or not all(_begins_with_images(train / name) for name in names[:3]):
            return False
        tests = [folder / name for name in ("test", "val") if (folder / name).is_dir()]
        return not tests or any(map(_folders, tests))

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are paths below the folder of the split, without their ending."""
        classes = _folders(heading.root / "train")
        description = read_description(
            heading, {**heading.unsaid, "classes": classes}, keys=IMAGE_KEYS, whole_images=True
        )
        root, test_name = description.root, _test_of(description.root)
        places = {"train": "train", "test": test_name}
        if odd := sorted({*classes, *_folders(root / test_name)} - set(description.spec.classes)):
            problem = unknown_name("class", odd[0], description.spec.classes)
            raise DatasetError(f"{root}: the folder {odd[0]!r} is no class of {description.spec.name!r}. {problem}")
        spec = replace(description.spec, task="classification")
        splits = {name: _files(root / place, spec.classes, spec.name) for name, place in places.items()}
        compare_counts(description, {place: len(splits[name]) for name, place in places.items()})
        return dataset_of_labelled_files(spec, description, splits, reference)


def _folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in order; none if it is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _begins_with_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        names = [entry.name for _, entry in zip(range(_LOOKED_AT), entries, strict=False)]
    return any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in names)


def _test_of(root: Path) -> str:
    found = [name for name in ("test", "val") if (root / name).is_dir()]
    if not found:
        raise DatasetError(
            f"Expected test/ or val/ beside train/ in {root}, with a folder of images for each class, but there is "
            "neither."
        )
    if len(found) > 1:
        warnings.warn(f"{root} has test/ and val/: test/ is the test split, val/ is not used.", stacklevel=4)
    return found[0]


def _files(folder: Path, classes: tuple[str, ...], dataset: str) -> dict[str, tuple[Path, int]]:
    """File and class of each image by identifier, class by class."""
    files: dict[str, tuple[Path, int]] = {}
    for label, name in enumerate(classes):
        below = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        for path in below:
            identifier = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
            other, _ = files.setdefault(identifier, (path, label))
            if other is not path:
                raise DatasetError(
                    f"Dataset {dataset!r}: {other} and {path} differ in their endings alone, so that they would have "
                    "the same name. Rename one of them."
                )
    if not files:
        raise DatasetError(f"Dataset {dataset!r} has an empty split: no images in the folders of {folder}.")
    return files


LAYOUTS.add("image_folders", ImageFolders())
