"""The target of a fine-tuning: its images, and how they are shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from muster.data import Dataset, Preprocessing, Split, cached, warn_of_shared_images
from muster.selection.record import SelectionRecord
from muster.selection.reopening import require_same_data


@dataclass(frozen=True)
class TargetData:
    """The target as fine-tuning sees it.

    Attributes:
        dataset: The target.
        train: The training images used.
        preprocessing: How images are shown to members without a preprocessing of their own.
    """

    dataset: Dataset
    train: Split
    preprocessing: Preprocessing

    @property
    def test_shape(self) -> tuple[int, int]:
        """Rows and columns of the first test image, as stored: what models are timed with."""
        height, width = self.dataset.test[0].image.shape[1:]
        return height, width


def target_data(selection: SelectionRecord, dataset: Dataset) -> TargetData:
    """The target exactly as the selection saw it: the same images, statistics and size.

    Args:
        selection: Says which.
        dataset: The target.

    Returns:
        The data to fine-tune on.

    Raises:
        SelectionError: If the dataset is not the one selected for: other classes, or images that are gone or others.
    """
    require_same_data(selection, dataset)
    warn_of_shared_images(dataset)
    train = cached(replace(dataset.train, identifiers=selection.train_images))
    return TargetData(dataset, train, selection.preprocessing)
