"""The order in which training sees images: a list of items, each a pure function of the seed and its number.

A run that stops after any step continues from there exactly, whatever its workers had already read ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from muster.data.spec import Sample, Split
from muster.errors import ConfigError, DatasetError

_ORDER, _AUGMENTATION = 0, 1
"""Keep the two uses of a seed apart."""

_READ_AT_ONCE = 64
"""Images are read ahead in groups of so many, of which at most one is read in vain."""


Transform = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, ...]]
"""Makes an example of an image uint8 ``[3, h, w]`` and its mask uint8 ``[h, w]``."""

PREFETCHED = 4
"""Batches that each loader worker has ready. With torch's 2 a worker that meets some large files holds up the fit."""


class ExampleStream(Dataset[tuple[Tensor, ...]]):
    """All examples of one fit, in the order in which it sees them.

    Attributes:
        steps: Number of optimiser steps.
        batch_size: Examples per step, over all ranks.
    """

    steps: int
    batch_size: int

    def __len__(self) -> int:
        """Number of examples."""
        return self.steps * self.batch_size

    def require(self, index: int) -> None:
        """Check that there is an example of that number.

        Args:
            index: The number.

        Raises:
            IndexError: If there is none.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Expected an index from 0 to {len(self) - 1}, but got {index}.")


class TrainingStream(ExampleStream):
    """All training examples of one fit, in order: ``steps * batch_size`` of them.

    Every image is seen once before any is seen again, in a new order each time, and each time with another
    augmentation.

    Attributes:
        split: Where the images come from.
        transform: What is done to each.
        steps: Number of optimiser steps.
        batch_size: Examples per step, over all ranks.
        seed: Decides order and augmentation; the global random state is neither used nor changed.
    """

    def __init__(self, split: Split, transform: Transform, steps: int, batch_size: int, seed: int) -> None:
        """See the class.

        Args:
            split: At least one image.
            transform: Usually a :class:`muster.data.TrainingTransform` of the split's dataset, or its method ``draw``.
            steps: At least 1.
            batch_size: At least 1.
            seed: Any whole number.

        Raises:
            ConfigError: If ``steps`` or ``batch_size`` is not positive.
            DatasetError: If the split is empty.
        """
        if steps < 1 or batch_size < 1:
            raise ConfigError(f"Expected steps and batch_size to be at least 1, but got {steps} and {batch_size}.")
        if len(split) == 0:
            raise DatasetError(f"Split {split.name!r} of dataset {split.spec.name!r} has no image to train on.")
        self.split = split
        self.transform = transform
        self.steps = steps
        self.batch_size = batch_size
        self.seed = seed

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Read and transform the image of one example: what the transform makes of it."""
        sample = self.split[self.position(index)]
        return self.transform(sample.image, sample.mask, example_generator(self.seed, index))

    def position(self, index: int) -> int:
        """Position within the split of the image that one example shows.

        Args:
            index: Number of the example.

        Returns:
            The position.

        Raises:
            IndexError: If there is no such example.
        """
        self.require(index)
        return place_of_example(self.seed, index, len(self.split))


def place_of_example(seed: int, index: int, images: int) -> int:
    """Which image an example shows, where every image is seen once before any is seen again.

    Args:
        seed: Decides the order, a new one each time.
        index: Number of the example.
        images: How many there are.

    Returns:
        Its place among them.
    """
    epoch, position = divmod(index, images)
    return int(_epoch_order(seed, epoch, images)[position])


def example_generator(seed: int, index: int) -> np.random.Generator:
    """What decides how the image of an example is augmented.

    Args:
        seed: Of the fit.
        index: Number of the example.
    """
    return _generator(seed, _AUGMENTATION, index)


def make_loader(
    stream: ExampleStream,
    batch_size: int | None = None,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, ...]]:
    """Load the batches of a stream from one step on, or this rank's share of them.

    The loader already knows the ranks: tell Lightning ``use_distributed_sampler=False``.

    Args:
        stream: The examples.
        batch_size: Examples per step over all ranks; if given, that of the stream.
        start_step: Steps already done.
        rank: Which process this is.
        world_size: Number of processes; divides the batch size. Together they see what one process would.
        num_workers: Processes that read ahead; 0 reads in this one.
        pin_memory: Whether batches are put where a GPU can fetch them quickly.

    Returns:
        One batch per remaining step: the parts of its examples, stacked. Its length is the number of all steps, those
        done before included.

    Raises:
        ConfigError: If ``batch_size`` is not the stream's, ``world_size`` does not divide it, or ``rank`` or
            ``start_step`` is out of range.
    """
    if batch_size not in {None, stream.batch_size}:
        raise ConfigError(f"Expected batch_size {stream.batch_size} (of all ranks together), but got {batch_size}.")
    if not 0 <= rank < world_size or stream.batch_size % world_size:
        raise ConfigError(
            f"Expected a rank below world_size and a batch_size that world_size divides, but got rank {rank}, "
            f"world_size {world_size} and batch_size {stream.batch_size}."
        )
    if not 0 <= start_step <= stream.steps:
        raise ConfigError(f"Expected start_step from 0 to {stream.steps}, but got {start_step}.")
    return DataLoader(
        stream,
        batch_sampler=_StepSampler(stream.batch_size, start_step, stream.steps, rank, world_size),
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        prefetch_factor=PREFETCHED if num_workers else None,
        generator=torch.Generator().manual_seed(0),  # unused by us; without it a loader draws from the global state
    )


def cached(split: Split, max_bytes: int = 1 << 30) -> Split:
    """The same split, with each image kept in memory once it was read.

    Meant for training on small datasets, where decoding costs more than the rest. The tensors that come back are the
    kept ones: do not change them in place. What is kept is not pickled: a loader worker that is
    started by copying this process shares it, see :func:`preload`, and any other keeps images of its own.

    Args:
        split: Any split.
        max_bytes: Images are kept until they fill this much; the others are read each time.

    Returns:
        A split that reads through the cache.
    """
    cache = _ImageCache(split.read, max_bytes)
    # A mask alone is read only when there is no room: otherwise its image will be asked for, and is kept at once.
    return replace(split, read=cache, read_mask=None if split.read_mask is None else _MaskOf(cache, split.read_mask))


def preload(split: Split) -> None:
    """Read what a :func:`cached` split has room for, so that loader workers that copy this process need not.

    Otherwise each of them decodes every image for itself and keeps it for itself.

    Args:
        split: Of any kind; nothing is done for one that keeps nothing.
    """
    if isinstance(split.read, _ImageCache):
        split.read.fill(split.identifiers)


class _ImageCache:
    def __init__(self, read: Callable[[str], Sample], max_bytes: int) -> None:
        self.read = read
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self.kept: dict[str, Sample] = {}
        self.full = False

    def __call__(self, identifier: str) -> Sample:
        sample = self.kept.get(identifier)
        if sample is None:
            sample = self.read(identifier)
            self._keep(identifier, sample)
        return sample

    def fill(self, identifiers: Sequence[str]) -> None:
        """Read as many as there is room for, in threads: decoding leaves Python's lock alone."""
        missing = (identifier for identifier in identifiers if identifier not in self.kept)
        with ThreadPoolExecutor() as threads:
            while not self.full and (some := list(islice(missing, _READ_AT_ONCE))):
                for identifier, sample in zip(some, threads.map(self.read, some), strict=True):
                    self._keep(identifier, sample)

    def _keep(self, identifier: str, sample: Sample) -> None:
        size = sample.image.nbytes + sample.mask.nbytes
        if self.used_bytes + size <= self.max_bytes:
            self.kept[identifier] = sample
            self.used_bytes += size
        else:
            self.full = True

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"used_bytes": 0, "kept": {}, "full": False}


class _MaskOf:
    """Masks from the cache; from their files alone once it is full."""

    def __init__(self, cache: _ImageCache, alone: Callable[[str], Tensor]) -> None:
        self.cache = cache
        self.alone = alone

    def __call__(self, identifier: str) -> Tensor:
        if self.cache.full and identifier not in self.cache.kept:
            return self.alone(identifier)
        return self.cache(identifier).mask


class _StepSampler(Sampler[list[int]]):
    """Numbers of the examples of each step that one rank takes."""

    def __init__(self, batch_size: int, start_step: int, steps: int, rank: int, world_size: int) -> None:
        self.batch_size = batch_size
        self.start_step = start_step
        self.steps = steps
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        # Lightning counts the batches before an interruption in, and begins anew when it has had this many in all.
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, self.steps):
            yield list(range(step * self.batch_size + self.rank, (step + 1) * self.batch_size, self.world_size))


def _generator(seed: int, use: int, number: int) -> np.random.Generator:
    return np.random.default_rng((seed % 2**64, use, number))  # mixes them well, and takes no negative numbers


@lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    order: np.ndarray[tuple[int], np.dtype[np.int64]] = _generator(seed, _ORDER, epoch).permutation(length)
    order.flags.writeable = False
    return order


def _collate(examples: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.stack(parts) for parts in zip(*examples, strict=True))
