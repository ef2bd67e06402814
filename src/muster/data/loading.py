"""Whole pictures, prepared for a model, in batches of equal size: for probing, evaluation and prediction.

Axis names: ``b`` pictures, ``h`` and ``w`` the rows and columns that the model sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from muster.data.spec import Split
from muster.data.statistics import ChannelStatistics
from muster.data.transforms import prepare_image


@dataclass(frozen=True)
class PreparedBatch:
    """Pictures of one size.

    Attributes:
        indices: Their places in the split.
        images: float32 ``[b, 3, h, w]``, resized and normalised.
        masks: Their masks as stored: uint8, each of its own size.
    """

    indices: list[int]
    images: Float32[Tensor, "b 3 h w"]
    masks: list[Tensor]


class PreparedSplit(Dataset[tuple[int, Tensor, Tensor]]):
    """Picture by picture: place in the split, prepared image, mask as stored."""

    def __init__(
        self, split: Split, statistics: ChannelStatistics, image_size: int, indices: Sequence[int] | None = None
    ) -> None:
        """Prepare the pictures of a split.

        Args:
            split: The pictures.
            statistics: What to normalise with.
            image_size: Longer side, in pixels, at which the model sees them.
            indices: Which of them, in which order; all by default.
        """
        self.split, self.statistics, self.image_size = split, statistics, image_size
        self.indices = list(range(len(split)) if indices is None else indices)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[int, Tensor, Tensor]:
        """Read and prepare one picture."""
        index = self.indices[position]
        sample = self.split[index]
        return index, prepare_image(sample.image, self.statistics, self.image_size), sample.mask


def prepared_images(
    split: Split,
    statistics: ChannelStatistics,
    image_size: int,
    batch_size: int = 16,
    num_workers: int = 0,
    indices: Sequence[int] | None = None,
) -> Iterator[PreparedBatch]:
    """Read pictures in order; neighbours of equal prepared size share a batch.

    Args:
        split: The pictures.
        statistics: What to normalise with.
        image_size: Longer side, in pixels, at which the model sees them.
        batch_size: Most pictures in a batch.
        num_workers: Processes that read ahead; 0 reads in this one.
        indices: Which pictures, in which order; all by default.

    Yields:
        The batches; together they hold every picture once.
    """
    pictures = PreparedSplit(split, statistics, image_size, indices)
    waiting: list[tuple[int, Tensor, Tensor]] = []
    for index, image, mask in DataLoader(pictures, batch_size=None, num_workers=num_workers):
        if waiting and (len(waiting) == batch_size or image.shape != waiting[0][1].shape):
            yield _stack(waiting)
            waiting = []
        waiting.append((index, image, mask))
    if waiting:
        yield _stack(waiting)


def _stack(items: list[tuple[int, Tensor, Tensor]]) -> PreparedBatch:
    return PreparedBatch(
        [index for index, _, _ in items], torch.stack([image for _, image, _ in items]), [mask for _, _, mask in items]
    )
