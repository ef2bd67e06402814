"""NYU Depth V2: the 1449 labelled images and their depths, in one MATLAB file of version 7.3, and the official splits.

::

    nyu_depth_v2/
      nyu_depth_v2_labeled.mat      images and depths (in metres, holes filled in by the publishers), image after image
      splits.mat                    trainNdxs and testNdxs, counted from 1
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from muster.arrays import NumpyArray
from muster.data.content import prefix_of_bytes
from muster.data.dataset_yaml import Heading, read_description
from muster.data.depth_files import in_metres
from muster.data.hdf5 import open_hdf5
from muster.data.images import Header, StoredMask
from muster.data.layout import LAYOUTS, Layout
from muster.data.matlab import column_of, read_matlab
from muster.data.sample_reader import ImageSource, MaskSource, make_split
from muster.data.spec import Dataset
from muster.data.splits import compare_counts
from muster.errors import DatasetError

_FILE, _SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
_INDICES = {"train": "trainNdxs", "test": "testNdxs"}


class NyuDepth(Layout):
    """Told by its two files."""

    def recognises(self, folder: Path) -> bool:
        """By the file of the images."""
        return (folder / _FILE).is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the numbers of the images, from 1, as ``0001``."""
        description = read_description(heading, heading.unsaid, keys=(), outputs=("depth",))
        description = replace(description, spec=replace(description.spec, task="depth"))
        path, splits = heading.root / _FILE, heading.root / _SPLITS
        if not splits.is_file():
            raise DatasetError(f"{splits} is missing: it says which images are for training. Put it beside {_FILE}.")
        content = read_matlab(splits)
        known = {name: tuple(map(int, column_of(splits, content, key))) for name, key in _INDICES.items()}
        compare_counts(description, {name: len(each) for name, each in known.items()})
        made = {name: make_split(description, name, _Images(path, each), _Depths(path)) for name, each in known.items()}
        return Dataset(description.spec, made["train"], made["test"], reference)


def _values(path: Path, name: str, identifier: str) -> NumpyArray:
    """One image or depth map, rows first: MATLAB stores columns first."""
    file = open_hdf5(path)
    place = int(identifier) - 1
    if name not in file or not 0 <= place < len(file[name]):
        raise DatasetError(f"{path}: expected number {identifier} of {name}, but it is not there.")
    stored: NumpyArray = file[name][place]
    return np.ascontiguousarray(np.swapaxes(stored, -1, -2))


@dataclass(frozen=True, eq=False)
class _Images(ImageSource):
    path: Path
    numbers: tuple[int, ...]

    def __iter__(self) -> Iterator[str]:
        return (f"{number:04d}" for number in self.numbers)

    def __contains__(self, identifier: object) -> bool:
        return identifier in set(self)

    def called(self, identifier: str) -> str:
        return f"image {identifier} of {self.path}"

    def header(self, identifier: str) -> Header:
        file = open_hdf5(self.path)
        *_, columns, rows = file["images"].shape
        del identifier  # all have one size
        return Header(None, (rows, columns))

    def read(self, identifier: str, as_stored: bool) -> Tensor:  # noqa: ARG002 (there is no orientation)
        return torch.from_numpy(_values(self.path, "images", identifier))

    def content(self, identifier: str) -> str:
        return prefix_of_bytes(_values(self.path, "images", identifier).tobytes())


@dataclass(frozen=True, eq=False)
class _Depths(MaskSource):
    path: Path

    def called(self, identifier: str) -> str:
        return f"depths {identifier} of {self.path}"

    def read(self, identifier: str) -> StoredMask:
        return StoredMask(in_metres(_values(self.path, "depths", identifier), 1.0), None)


LAYOUTS.add("nyu_depth", NyuDepth())
