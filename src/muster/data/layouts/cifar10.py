"""CIFAR-10 in its binary version.

::

    cifar-10-batches-bin/
      data_batch_1.bin ... data_batch_5.bin     a byte for the class and 3 x 32 x 32 for the image, again and again
      test_batch.bin
      batches.meta.txt                          names of the classes

The version for Python is made of pickles, which can run any program when they are read; it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from muster.data.content import prefix_of_bytes
from muster.data.dataset_yaml import Heading
from muster.data.images import Header
from muster.data.labelled_images import labelled_split
from muster.data.layout import LAYOUTS, Layout
from muster.data.published_images import describe
from muster.data.sample_reader import ImageSource
from muster.data.spec import Dataset
from muster.data.splits import compare_counts
from muster.data.text_lists import lines_of
from muster.errors import DatasetError
from muster.user_files import open_regular

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_BATCHES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
_NAMES = "batches.meta.txt"


class Cifar10(Layout):
    """Files of records."""

    def recognises(self, folder: Path) -> bool:
        """By the test images, or by the version that is refused."""
        return (folder / "test_batch.bin").is_file() or (folder / "batches.meta").is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the file and the number of the record."""
        root = heading.root
        if not (root / "test_batch.bin").is_file():
            raise DatasetError(
                f"{root} is CIFAR-10 as pickles, and expected is its binary version (cifar-10-binary.tar.gz): a pickle "
                "can run any program when it is read."
            )
        classes = [name for _, (name,) in lines_of(root / _NAMES, 1)]
        description = describe(heading, classes, f"{_NAMES} says")
        spec = replace(description.spec, task="classification")
        labels = {split: _labels(root, names, len(classes)) for split, names in _BATCHES.items()}
        train, test = (labelled_split(spec, split, _Records(root, labels[split]), labels[split]) for split in labels)
        found = {"train": len(train), "test": len(test)}
        compare_counts(description, found)
        return Dataset(spec, train, test, reference)


class _Records(ImageSource):
    """Images in files of records."""

    def __init__(self, root: Path, names: Mapping[str, int]) -> None:
        self.root, self.names = root, names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self.names

    def called(self, identifier: str) -> str:
        batch, _, number = identifier.partition("/")
        return f"record {int(number)} of {self.root / batch}.bin"

    def header(self, identifier: str) -> Header:  # noqa: ARG002 (all have one size)
        return Header(None, (_SIDE, _SIDE))

    def read(self, identifier: str, as_stored: bool) -> Tensor:  # noqa: ARG002 (none is turned)
        pixels = np.frombuffer(self._bytes(identifier), np.uint8).reshape(3, _SIDE, _SIDE)
        return torch.from_numpy(pixels.copy())

    def content(self, identifier: str) -> str:
        return prefix_of_bytes(self._bytes(identifier))

    def _bytes(self, identifier: str) -> bytes:
        batch, _, number = identifier.partition("/")
        try:
            with open_regular(self.root / f"{batch}.bin") as file:
                file.seek(int(number) * (_PIXELS + 1) + 1)
                found = file.read(_PIXELS)
        except OSError as error:
            raise DatasetError(f"{self.called(identifier)} cannot be read: {error.strerror}.") from error
        if len(found) < _PIXELS:
            raise DatasetError(f"{self.called(identifier)} is cut off. Download the file again.")
        return found


def _labels(root: Path, names: list[str], classes: int) -> dict[str, int]:
    """The class of each record."""
    found: dict[str, int] = {}
    for name in names:
        path = root / name
        try:
            with open_regular(path) as file:
                content = np.frombuffer(file.read(), np.uint8)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror}. Is the download complete?") from error
        if not len(content) or len(content) % (_PIXELS + 1):
            raise DatasetError(
                f"{path}: expected records of {_PIXELS + 1} bytes, but it has {len(content)} bytes. Download it again."
            )
        labels = content[:: _PIXELS + 1].tolist()
        if max(labels) >= classes:
            raise DatasetError(f"{path}: record {labels.index(max(labels))} has class {max(labels)} of {classes}.")
        found |= {f"{path.stem}/{number:05}": label for number, label in enumerate(labels)}
    return found


LAYOUTS.add("cifar10", Cifar10())
