"""Images that are files, with one class each: what layouts without masks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from muster.data.dataset_yaml import Description
from muster.data.sample_reader import FileImages, ImageSource
from muster.data.spec import Dataset, DatasetSpec, Sample, Split
from muster.data.splits import unknown_image
from muster.errors import DatasetError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Reads the images of one split with their classes.

    Attributes:
        spec: The dataset.
        images: Its images.
        labels: Index of the class of each.
    """

    spec: DatasetSpec
    images: ImageSource
    labels: Mapping[str, int]

    def __call__(self, identifier: str) -> Sample:
        """Read one image, upright.

        Args:
            identifier: Its name within the split.

        Returns:
            The image, and its class as int64 ``[1, 1]``.

        Raises:
            DatasetError: If there is no such image, or it cannot be read.
        """
        mask = self.mask(identifier)
        return Sample(identifier, self.images.read(identifier, False), mask)

    def mask(self, identifier: str) -> Tensor:
        """The class alone; of the image nothing is read."""
        if identifier not in self.labels:
            raise DatasetError(f"Dataset {self.spec.name!r}: {unknown_image(identifier, self.labels)}")
        return torch.tensor([[self.labels[identifier]]])


def labelled_split(spec: DatasetSpec, name: str, images: ImageSource, labels: Mapping[str, int]) -> Split:
    """One split of images with classes.

    Args:
        spec: The dataset.
        name: ``"train"`` or ``"test"``.
        images: Where they are read from.
        labels: Index of the class of each, in order.

    Returns:
        The split; nothing of it is read yet.
    """
    reader = LabelledImages(spec, images, labels)
    return Split(spec, name, tuple(labels), reader, reader.mask, images.content)


def dataset_of_labelled_files(
    spec: DatasetSpec,
    description: Description,
    splits: Mapping[str, Mapping[str, tuple[Path, int]]],
    reference: str,
) -> Dataset:
    """A dataset of image files with one class each.

    Args:
        spec: What it is.
        description: It says what is read of the files.
        splits: For ``train`` and ``test``, file and class of each identifier.
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
