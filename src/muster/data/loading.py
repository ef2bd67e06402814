"""Whole images, prepared for a model, in batches of equal size: for probing, evaluation and prediction.

Axis names: ``b`` images, ``h`` and ``w`` the rows and columns that the model sees, ``stored_h`` and ``stored_w``
those of an image as stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float32, Num
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from muster.data.preprocessing import Preprocessing
from muster.data.spec import Split
from muster.data.transforms import prepare_image
from muster.data.views import Views, prepare_views, shapes_of, stack_views


@dataclass(frozen=True)
class PreparedBatch:
    """Images of one size.

    Attributes:
        indices: Their places in the split.
        images: float32 ``[b, 3, h, w]``, resized and normalised; as each model wants them, if some have a preprocessing
            of their own.
        masks: Their masks as stored: uint8, each of its own size.
    """

    indices: list[int]
    images: Views
    masks: list[Tensor]


_Item: TypeAlias = tuple[int, Views, Tensor]


class PreparedSplit(Dataset[_Item]):
    """Image by image: place in the split, prepared image, mask as stored."""

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        indices: Sequence[int] | None = None,
        owns: Iterable[Preprocessing | None] = (),
    ) -> None:
        """Prepare the images of a split.

        Args:
            split: The images.
            preprocessing: How they are shown.
            indices: Which of them, in which order; all by default.
            owns: The own preprocessing of each model that is to see them, ``None`` for models without.
        """
        self.split, self.preprocessing, self.owns = split, preprocessing, tuple(owns)
        self.indices = list(range(len(split)) if indices is None else indices)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.indices)

    def __getitem__(self, position: int) -> _Item:
        """Read and prepare one image."""
        index = self.indices[position]
        sample = self.split[index]
        return index, prepare_views(sample.image, self.preprocessing, self.owns), sample.mask


def prepared_images(
    split: Split,
    preprocessing: Preprocessing,
    batch_size: int = 16,
    num_workers: int = 0,
    indices: Sequence[int] | None = None,
    owns: Iterable[Preprocessing | None] = (),
) -> Iterator[PreparedBatch]:
    """Read images in order; neighbours of equal prepared size share a batch.

    Args:
        split: The images.
        preprocessing: How they are shown.
        batch_size: Most images in a batch.
        num_workers: Processes that read ahead; 0 reads in this one.
        indices: Which images, in which order; all by default.
        owns: The own preprocessing of each model that is to see them, ``None`` for models without.

    Yields:
        The batches; together they hold every image once.
    """
    prepared = PreparedSplit(split, preprocessing, indices, owns)
    waiting: list[_Item] = []
    for index, views, mask in DataLoader(prepared, batch_size=None, num_workers=num_workers):
        if waiting and (len(waiting) == batch_size or shapes_of(views) != shapes_of(waiting[0][1])):
            yield _stack(waiting)
            waiting = []
        waiting.append((index, views, mask))
    if waiting:
        yield _stack(waiting)


def _stack(items: list[_Item]) -> PreparedBatch:
    indices, views, masks = zip(*items, strict=True)
    return PreparedBatch(list(indices), stack_views(views), list(masks))


class StoredBatch(NamedTuple):
    """Images as stored that will have one size once they are prepared.

    Attributes:
        indices: Their places in the split.
        places: For each stored size, which of the batch have it.
        images: For each stored size, these: uint8 ``[b, 3, stored_h, stored_w]``.
    """

    indices: list[int]
    places: list[list[int]]
    images: list[Tensor]

    def prepared(self, preprocessing: Preprocessing, device: torch.device) -> Float32[Tensor, "b channels h w"]:
        """Resize and normalise them on a device, which is sent bytes only.

        Args:
            preprocessing: How a model sees them.
            device: Where to have them.

        Returns:
            What :func:`muster.data.prepare_image` makes of each, in the order of ``indices``.
        """
        sent = (images.to(device, non_blocking=True) for images in self.images)
        parts = torch.cat([prepare_image(images, preprocessing) for images in sent])
        order = torch.tensor([place for places in self.places for place in places])
        return parts if len(self.images) == 1 else parts[order.argsort().to(device)]


class _StoredImages(Dataset[tuple[int, Tensor]]):
    """Image by image, as stored. Workers are handed this."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[int, Num[Tensor, "channels stored_h stored_w"]]:
        return index, self.split[index].image


def stored_batches(
    split: Split, batches: Sequence[Sequence[int]], num_workers: int = 0, pin_memory: bool = False
) -> Iterable[StoredBatch]:
    """Read images in given batches, as often as the result is iterated over.

    Args:
        split: The images.
        batches: Places in the split of each batch.
        num_workers: Processes that read ahead; 0 reads in this one. They go on living from one time to the next, so
            that a split that keeps its images reads each once.
        pin_memory: Whether to have the images in memory that a GPU copies from while it computes.

    Returns:
        The batches, in order.
    """
    return DataLoader(
        _StoredImages(split),
        batch_sampler=[list(batch) for batch in batches],
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=_by_stored_size,
        pin_memory=pin_memory,
    )


def _by_stored_size(items: list[tuple[int, Tensor]]) -> StoredBatch:
    groups: dict[torch.Size, list[int]] = {}
    for place, (_, image) in enumerate(items):
        groups.setdefault(image.shape, []).append(place)
    images = [torch.stack([items[place][1] for place in places]) for places in groups.values()]
    return StoredBatch([index for index, _ in items], list(groups.values()), images)
