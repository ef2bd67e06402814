"""What a plan says of a dataset to train on: which one, and how many of its training images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from muster.data import Dataset, open_dataset
from muster.data.foreseen import as_it_was_published
from muster.data.opening import counted, is_built_in, places_of
from muster.errors import ConfigError, DatasetError


@dataclass(frozen=True)
class PlannedSource:
    """A dataset as a plan names it.

    Attributes:
        reference: What the plan writes.
        dataset: The dataset; a built-in world has as many training images as the plan says.
        label: What members are called after it: its name, with the number if the plan says one.
        train_images: How many of its training images are used, where the plan says so; ``None`` leaves it to the
            settings.
    """

    reference: str
    dataset: Dataset
    label: str
    train_images: int | None = None


def open_source(reference: str, data_root: Path | None) -> PlannedSource:
    """Open a dataset of a plan.

    Args:
        reference: What :func:`muster.data.open_dataset` opens; or ``FOLDER@150`` for a seeded choice of 150 of a
            folder's training images.
        data_root: Folder below which datasets are looked for.

    Returns:
        The dataset, and how many images are meant.

    Raises:
        DatasetError: If it cannot be opened.
        ConfigError: If more images are asked for than it has, or none.
    """
    name, count = counted(reference)
    is_folder = any(os.path.isdir(place) for place in places_of(reference, data_root))  # noqa: PTH112 (never an error)
    if count is None or is_built_in(reference) or is_folder:
        dataset = open_dataset(reference, data_root)
        return PlannedSource(reference, dataset, dataset.spec.name if is_folder else _label(dataset, count))
    return _some_images(reference, open_dataset(name, data_root), count)


def foresee_source(reference: str, data_root: Path | None) -> PlannedSource:
    """The same without its images, where they are not at hand and the dataset is a published one.

    Args:
        reference: See :func:`open_source`; a published dataset goes by the name of its folder, or by what stands behind
            a colon (``cityscapes:cityscapes33``).
        data_root: Folder below which datasets are looked for.

    Returns:
        The dataset, whose images can be counted and, if it is not at hand, not be read.

    Raises:
        DatasetError: If it is neither at hand nor a published one.
        ConfigError: If more images are asked for than it has, or none.
    """
    try:
        return open_source(reference, data_root)
    except DatasetError:
        name, count = counted(reference)
        dataset = as_it_was_published(name)
        if dataset is None:
            raise
    if count is None:
        return PlannedSource(reference, dataset, dataset.spec.name)
    return _some_images(reference, dataset, count)


def _some_images(reference: str, dataset: Dataset, count: int) -> PlannedSource:
    """A seeded choice of its training images."""
    if not 1 <= count <= len(dataset.train):
        raise ConfigError(
            f"plan: {reference} asks for {count} training {dataset.spec.holds}, but {dataset.spec.name!r} has "
            f"{len(dataset.train)}."
        )
    return PlannedSource(reference, dataset, _label(dataset, count), count)


def _label(dataset: Dataset, count: int | None) -> str:
    return dataset.spec.name if count is None else f"{dataset.spec.name}@{count}"
