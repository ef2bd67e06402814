"""The probe images as one model after the other sees them, with the probe pixels that lie in each batch.

Axis names: ``b`` images of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from muster.data import Preprocessing, Split
from muster.data.loading import StoredBatch, stored_batches
from muster.machine import free_bytes
from muster.probe.interpolation import PixelPlaces
from muster.probe.pixels import ProbeSet
from muster.ranks import rank, world_size

_KEPT_BYTES = 1 << 30
"""Prepared images are kept on a CPU for the next model if all of them fit into this much memory."""

_KEPT_PART = 0.25
"""Part of a GPU's free memory that prepared images may take."""


@dataclass(frozen=True, eq=False)
class ProbeBatch:
    """Prepared images, with the probe pixels that lie in them.

    Attributes:
        images: Normalised.
        places: The probe pixels.
        rows: Place of each image among those that have probe pixels.
    """

    images: Float32[Tensor, "b channels h w"]
    places: PixelPlaces
    rows: Int64[Tensor, " b"]


@dataclass
class KeptBytes:
    """How much memory the prepared images take that are kept, of all preprocessings together."""

    total: float = 0.0


class PreparedProbe:
    """The images of a probe set under one preprocessing, in batches of equal size.

    Attributes:
        shape: Rows and columns of the first batch that any process has.
        share: The batches of this process: places of their images in the split.
    """

    def __init__(
        self,
        split: Split,
        probe: ProbeSet,
        preprocessing: Preprocessing,
        device: torch.device,
        batch_size: int,
        num_workers: int,
        kept_bytes: KeptBytes,
    ) -> None:
        """Plan the batches; nothing is read yet.

        Args:
            split: The images that the probe set was drawn from.
            probe: The probe set.
            preprocessing: How a model sees the images.
            device: Where models run.
            batch_size: Most images at a time.
            num_workers: Processes that read ahead.
            kept_bytes: What is kept already; what is kept here is added.
        """
        self._probe, self._preprocessing, self._device, self._kept_bytes = probe, preprocessing, device, kept_bytes
        batches, self._bytes, self.shape = _plan(probe, preprocessing, batch_size)
        self.share = batches[rank() :: world_size()]
        self._stored: Iterable[StoredBatch] = stored_batches(split, self.share, num_workers, device.type == "cuda")
        self._kept: list[ProbeBatch] | None = None

    def __iter__(self) -> Iterator[ProbeBatch]:
        """The batches of this process's share, kept for the next model if there is room."""
        if self._kept is not None:
            yield from self._kept
            return
        on_cpu, bytes_here = self._device.type == "cpu", self._bytes / world_size()
        room = _KEPT_BYTES - self._kept_bytes.total if on_cpu else _KEPT_PART * free_bytes(self._device)
        keep, kept = bytes_here <= room, []
        for stored, places, rows in zip(self._stored, self._places, self._rows, strict=True):
            images = stored.prepared(self._preprocessing, self._device)
            batch = ProbeBatch(images.contiguous(memory_format=torch.channels_last), places, rows)
            yield batch
            if keep:
                kept.append(batch)
        if keep:
            self._kept, self._stored = kept, ()  # what read ahead has done its work
            self._kept_bytes.total += bytes_here

    @cached_property
    def _places(self) -> list[PixelPlaces]:
        """The pixel places of each batch of this process's share."""
        sizes = torch.tensor(self._probe.sizes)
        return [_places_in(self._probe, batch, sizes, self._device) for batch in self.share]

    @cached_property
    def _rows(self) -> list[Int64[Tensor, " b"]]:
        """Likewise, places of the images among those that have probe pixels."""
        rows = {image: row for row, image in enumerate(self._probe.images)}
        return [torch.tensor([rows[image] for image in batch], device=self._device) for batch in self.share]


def _places_in(probe: ProbeSet, batch: Sequence[int], sizes: Tensor, device: torch.device) -> PixelPlaces:
    """The probe pixels of some images, on a device."""
    into = torch.cat([torch.arange(probe.starts[image], probe.starts[image + 1]) for image in batch])
    counts = torch.tensor([probe.starts[image + 1] - probe.starts[image] for image in batch])
    heights, widths = sizes[list(batch)].repeat_interleave(counts, dim=0).T.contiguous()
    images = torch.arange(len(batch)).repeat_interleave(counts)
    columns = (images, probe.rows[into], probe.columns[into], heights, widths, into)
    return PixelPlaces(*torch.stack(columns).to(device))


def _plan(
    probe: ProbeSet, preprocessing: Preprocessing, batch_size: int
) -> tuple[list[list[int]], int, tuple[int, int]]:
    """Batches of images of equal prepared size, how much memory all of them need, and the size of the first."""
    groups: dict[tuple[int, int], list[int]] = {}
    sizes = probe.image_sizes or probe.sizes
    for image, (height, width) in enumerate(sizes):
        pixels = probe.pixels_of(image)
        if pixels.start < pixels.stop:
            groups.setdefault(preprocessing.shape_of(height, width), []).append(image)
    batches = [group[i : i + batch_size] for group in groups.values() for i in range(0, len(group), batch_size)]
    channels = len(preprocessing.statistics.mean)
    values = sum(channels * height * width * len(group) for (height, width), group in groups.items())
    first = next(iter(groups), preprocessing.shape_of(*sizes[0]))
    return batches, values * torch.float32.itemsize, first
