"""Images with a class, or several, of the whole image: what layouts without masks have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from muster.data.dataset_yaml import Description
from muster.data.sample_reader import FileImages, ImageSource
from muster.data.spec import VOID, Dataset, DatasetSpec, Sample, Split
from muster.data.splits import unknown_image
from muster.errors import DatasetError

Label: TypeAlias = int | bytes
"""Index of the class of an image; or, where it can have several, a byte for each class, see :func:`several_classes`."""


def several_classes(count: int, having: Iterable[int], unknown: Iterable[int] = ()) -> bytes:
    """The label of an image that can have several classes, or none.

    Args:
        count: How many classes there are.
        having: Indices of those that it has.
        unknown: Of those of which that is not known.

    Returns:
        A byte for each class: 1 if the image has it, 0 if not, :data:`VOID` if that is not known.
    """
    label = bytearray(count)
    for index in having:
        label[index] = 1
    for index in unknown:
        label[index] = VOID
    return bytes(label)


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Reads the images of one split with their classes.

    Attributes:
        spec: The dataset.
        images: Its images.
        labels: What is known of each.
    """

    spec: DatasetSpec
    images: ImageSource
    labels: Mapping[str, Label]

    def __call__(self, identifier: str) -> Sample:
        """Read one image, upright.

        Args:
            identifier: Its name within the split.

        Returns:
            The image, and its class as int64 ``[1, 1]``; or uint8 ``[classes, 1]`` where it can have several.

        Raises:
            DatasetError: If there is no such image, or it cannot be read.
        """
        mask = self.mask(identifier)
        return Sample(identifier, self.images.read(identifier, False), mask)

    def mask(self, identifier: str) -> Tensor:
        """The truth alone; of the image nothing is read."""
        if identifier not in self.labels:
            raise DatasetError(f"Dataset {self.spec.name!r}: {unknown_image(identifier, self.labels)}")
        label = self.labels[identifier]
        if isinstance(label, bytes):
            return torch.tensor(list(label), dtype=torch.uint8)[:, None]
        return torch.tensor([[label]])


def labelled_split(spec: DatasetSpec, name: str, images: ImageSource, labels: Mapping[str, Label]) -> Split:
    """One split of images with classes.

    Args:
        spec: The dataset.
        name: ``"train"`` or ``"test"``.
        images: Where they are read from.
        labels: What is known of each, in order.

    Returns:
        The split; nothing of it is read yet.
    """
    reader = LabelledImages(spec, images, labels)
    return Split(spec, name, tuple(labels), reader, reader.mask, images.content)


def dataset_of_labelled_files(
    spec: DatasetSpec,
    description: Description,
    splits: Mapping[str, Mapping[str, tuple[Path, Label]]],
    reference: str,
) -> Dataset:
    """A dataset of image files with labels.

    Args:
        spec: What it is.
        description: It says what is read of the files.
        splits: For ``train`` and ``test``, file and label of each identifier.
        reference: What it is to be called in records.

    Returns:
        The dataset.
    """
    train, test = (
        labelled_split(
            spec,
            name,
            FileImages(spec, {each: file for each, (file, _) in splits[name].items()}, description.bands),
            {each: label for each, (_, label) in splits[name].items()},
        )
        for name in ("train", "test")
    )
    return Dataset(spec, train, test, reference)
