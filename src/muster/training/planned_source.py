"""What a plan says of a dataset to train on: which one, and how many of its training images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from muster.data import Dataset, open_dataset
from muster.data.opening import counted, is_built_in, places_of
from muster.errors import ConfigError


@dataclass(frozen=True)
class PlannedSource:
    """A dataset as a plan names it.

    Attributes:
        dataset: The dataset; a built-in world has as many training images as the plan says.
        label: What members are called after it: its name, with the number if the plan says one.
        train_images: How many of its training images are used, where the plan says so; ``None`` leaves it to the
            settings.
    """

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
        return PlannedSource(dataset, dataset.spec.name if is_folder else _label(dataset, count))
    dataset = open_dataset(name, data_root)
    if not 1 <= count <= len(dataset.train):
        raise ConfigError(
            f"plan: {reference} asks for {count} training images, but {dataset.spec.name!r} has {len(dataset.train)}."
        )
    return PlannedSource(dataset, _label(dataset, count), count)


def _label(dataset: Dataset, count: int | None) -> str:
    return dataset.spec.name if count is None else f"{dataset.spec.name}@{count}"
