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
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from muster.data.dataset_yaml import IMAGE_KEYS, read_description, read_heading
from muster.data.images import IMAGE_SUFFIXES
from muster.data.layout import LAYOUTS, Layout
from muster.data.sample_reader import FileImages
from muster.data.spec import Dataset, Sample, Split
from muster.data.splits import compare_counts, unknown_image
from muster.errors import DatasetError, unknown_name

_LOOKED_AT = 20
"""Entries of a class's folder that are looked at to recognise the layout."""


class ImageFolders(Layout):
    """``train/CLASS/IMAGE`` and ``test/CLASS/IMAGE``."""

    def recognises(self, folder: Path) -> bool:
        """By at least two folders below ``train`` with images in them, none of which holds masks."""
        train = folder / "train"
        names = _folders(train)
        return len(names) > 1 and "masks" not in names and all(_begins_with_images(train / name) for name in names[:3])

    def open(self, folder: Path, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are paths below the folder of the split, without their ending."""
        heading = read_heading(folder)
        classes = _folders(heading.root / "train")
        description = read_description(folder, {**heading.unsaid, "classes": classes}, keys=IMAGE_KEYS)
        root, test_name = description.root, _test_of(description.root)
        if odd := sorted({*classes, *_folders(root / test_name)} - set(description.spec.classes)):
            problem = unknown_name("class", odd[0], description.spec.classes)
            raise DatasetError(f"{root}: the folder {odd[0]!r} is no class of {description.spec.name!r}. {problem}")
        spec = replace(description.spec, task="classification")
        splits = []
        for name, place in (("train", "train"), ("test", test_name)):
            files = _files(root / place, spec.classes, spec.name)
            images = FileImages(spec, files, description.bands)
            reader = _Reader(images, {each: index for index, each in enumerate(spec.classes)})
            splits.append(Split(spec, name, tuple(files), reader, reader.mask, images.content))
        compare_counts(description, {"train": len(splits[0]), test_name: len(splits[1])})
        return Dataset(spec, splits[0], splits[1], reference)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads the images of one split; the first part of an identifier is the class."""

    images: FileImages
    places: Mapping[str, int]

    def __call__(self, identifier: str) -> Sample:
        mask = self.mask(identifier)
        return Sample(identifier, self.images.read(identifier, False), mask)

    def mask(self, identifier: str) -> Tensor:
        if identifier not in self.images:
            raise DatasetError(f"Dataset {self.images.spec.name!r}: {unknown_image(identifier, self.images)}")
        return torch.tensor([[self.places[identifier.split("/")[0]]]])


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


def _files(folder: Path, classes: tuple[str, ...], dataset: str) -> dict[str, Path]:
    """Images by identifier, class by class."""
    files: dict[str, Path] = {}
    for name in classes:
        below = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        for path in below:
            identifier = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
            if (other := files.setdefault(identifier, path)) is not path:
                raise DatasetError(
                    f"Dataset {dataset!r}: {other} and {path} differ in their endings alone, so that they would have "
                    "the same name. Rename one of them."
                )
    if not files:
        raise DatasetError(f"Dataset {dataset!r} has an empty split: no images in the folders of {folder}.")
    return files


LAYOUTS.add("image_folders", ImageFolders())
