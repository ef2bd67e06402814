"""SUN RGB-D as it is distributed: images in the folders of their cameras, and the toolbox with classes and splits.

::

    sun_rgbd/
      SUNRGBD/kv2/kinect2data/000002_.../image/0000103.jpg
      SUNRGBDtoolbox/Metadata/SUNRGBDMeta.mat            which images there are
      SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat           the class of each pixel, for image after image in that order
      SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat       which of them are for training

The second of these files is of version 7.3 and has some 40 GB when it is read whole: it is read image by image.

Source: the readme of the toolbox, which davidstutz/superpixel-benchmark repeats (data/SUNRGBD/README.md), and programs
that read it. It was not compared with the archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muster.arrays import NumpyArray
from muster.data.dataset_yaml import IMAGE_KEYS, Heading, read_description
from muster.data.hdf5 import open_hdf5
from muster.data.images import StoredMask
from muster.data.layout import LAYOUTS, Layout
from muster.data.mask_values import MaskValues
from muster.data.matlab import column_of, read_matlab
from muster.data.sample_reader import FileImages, MaskSource, make_split
from muster.data.spec import Dataset
from muster.data.splits import compare_counts
from muster.data.text_lists import require_images
from muster.errors import DatasetError

_IMAGES, _META = "SUNRGBD", "SUNRGBDtoolbox/Metadata"
_LISTED, _LABELS = f"{_META}/SUNRGBDMeta.mat", f"{_META}/SUNRGBD2Dseg.mat"
_SPLITS = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
_LISTS = {"train": "alltrain", "test": "alltest"}
_KEYS = (*IMAGE_KEYS, "mask_values", "ignore_index", "reduce_zero_label", "orientation")


class SunRgbd(Layout):
    """The two archives, unpacked into one folder."""

    def recognises(self, folder: Path) -> bool:
        """By the file of labels."""
        return (folder / _LABELS).is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the folders of the images, below ``SUNRGBD``."""
        root, labels = heading.root, heading.root / _LABELS
        description = read_description(heading, heading.unsaid, keys=_KEYS)
        images = _images(root / _LISTED)
        count = len(_references(labels))
        if count != len(images):
            raise DatasetError(
                f"{labels}: expected as many masks as {root / _LISTED} lists images, which is {len(images)}, but it "
                f"has {count}."
            )
        require_images({name: root / _IMAGES / path for name, path in images.items()}, str(root / _LISTED))
        splits = {split: _named(root / _SPLITS, key, images) for split, key in _LISTS.items()}
        compare_counts(description, {split: len(names) for split, names in splits.items()})
        numbers = {name: number for number, name in enumerate(images)}
        masks = _Labels(labels, numbers, description.masks, description.spec.name)
        made = {
            split: make_split(
                description,
                split,
                FileImages(description.spec, {name: root / _IMAGES / images[name] for name in names}),
                masks,
            )
            for split, names in splits.items()
        }
        return Dataset(description.spec, made["train"], made["test"], reference)


def _below(path: Path, place: str) -> str:
    """The publishers' paths begin with folders of their own machine."""
    before, found, after = place.strip().strip("/").partition(f"{_IMAGES}/")
    if not found:
        raise DatasetError(f"{path}: expected paths with {_IMAGES}/ in them, but got {before!r}.")
    return after


def _images(path: Path) -> dict[str, str]:
    """By the folder of each image, its path below ``SUNRGBD``, in the order of the file."""
    content = read_matlab(path)
    try:
        places = [str(entry["rgbpath"]) for entry in np.atleast_1d(content["SUNRGBDMeta"])]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise DatasetError(f"{path}: expected SUNRGBDMeta with an rgbpath for each image: {error!r}.") from error
    return {str(Path(below).parent.parent): below for below in (_below(path, place) for place in places)}


def _named(path: Path, key: str, images: Mapping[str, str]) -> list[str]:
    names = [_below(path, str(place)) for place in column_of(path, read_matlab(path), key)]
    if strange := [name for name in names if name not in images]:
        raise DatasetError(
            f"{path}: {key}: expected images that {_LISTED} lists, but got {strange[0]} and {len(strange) - 1} more. "
            "Are both of the same download?"
        )
    return names


def _references(path: Path) -> Any:
    try:
        return open_hdf5(path)["SUNRGBD2Dseg"]["seglabel"]
    except KeyError as error:
        raise DatasetError(f"{path}: expected SUNRGBD2Dseg with seglabel: {error}.") from error


@dataclass(frozen=True, eq=False)
class _Labels(MaskSource):
    path: Path
    numbers: Mapping[str, int]
    values: MaskValues
    dataset: str

    def called(self, identifier: str) -> str:
        return f"seglabel {self.numbers[identifier] + 1} of {self.path}"

    def read(self, identifier: str) -> StoredMask:
        try:
            reference = np.ravel(_references(self.path)[self.numbers[identifier]])[0]
            stored: NumpyArray = open_hdf5(self.path)[reference][...]
        except (OSError, KeyError, ValueError) as error:
            raise DatasetError(f"{self.called(identifier)} cannot be read: {error}. Download it again.") from error
        if stored.ndim != 2 or stored.size == 0 or (stored != stored.astype(np.uint16)).any():
            raise DatasetError(
                f"{self.called(identifier)}: expected rows and columns of whole numbers, but got {stored.dtype} "
                f"{list(stored.shape)}."
            )
        pixels = np.ascontiguousarray(stored.T, np.uint16)
        return StoredMask(self.values.to_indices(pixels, self.called(identifier), self.dataset), None)


LAYOUTS.add("sun_rgbd", SunRgbd())
