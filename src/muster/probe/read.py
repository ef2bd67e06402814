"""A member's predictions at the probe pixels, without ever making a score map of the image's size.

Axis names: ``pixels`` the probe pixels, ``source_classes`` the member's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from muster.data import ChannelStatistics, Split, fit_size
from muster.data.loading import StoredBatch, stored_batches
from muster.machine import free_bytes
from muster.models import SourceModel
from muster.models.prediction import probabilities_of
from muster.precision import forward_precision, resolve_precision
from muster.probe.interpolation import PixelPlaces, read_batch
from muster.probe.pixels import ProbeSet
from muster.probe.reading import Reading, RowBuffer
from muster.ranks import rank, world_size

_KEPT_BYTES = 1 << 30
"""Prepared images are kept on a CPU for the next member if all of them fit into this much memory."""

_KEPT_PART, _READING_PART = 0.25, 0.5
"""Parts of a GPU's free memory that prepared images may take, and what is read from one member."""


@dataclass(frozen=True, eq=False)
class _Batch:
    """Prepared images, with the probe pixels that lie in them."""

    images: Float32[Tensor, "b 3 h w"]
    places: PixelPlaces
    rows: Int64[Tensor, " b"]
    """Place of each image among those that have probe pixels."""


class ProbeReader:
    """Runs one member after the other over the probe images.

    Images of equal prepared size share a batch, wherever they are in the split. In a distributed run whole batches are
    dealt out: a batch then holds the same images whatever the number of processes, and the numbers are the same too.

    Everything happens on one device: images are sent to it as bytes and are prepared there once for all members, and
    what is read stays there, unless it takes more than half of the memory that is free.

    Attributes:
        probe: The probe set.
        statistics: What the images are normalised with.
        image_size: Longer side at which members see them, in pixels.
        device: Where members run.
        precision: In which precision, see :data:`muster.precision.Precision`; never ``auto``.
        smallest_side: Least number of rows or columns that a member is shown, in pixels.
    """

    def __init__(
        self,
        split: Split,
        probe: ProbeSet,
        statistics: ChannelStatistics,
        image_size: int,
        device: torch.device | str = "cpu",
        batch_size: int = 16,
        num_workers: int = 0,
        precision: str = "auto",
    ) -> None:
        """Plan the batches; nothing is read yet.

        Args:
            split: The images that the probe set was drawn from.
            probe: See the class.
            statistics: See the class.
            image_size: See the class.
            device: See the class.
            batch_size: Most images at a time.
            num_workers: Processes that read ahead.
            precision: ``auto`` is bf16-mixed on a GPU that has it, and 32-true elsewhere. Probabilities are computed in
                float32 whatever it is.

        Raises:
            ConfigError: If there is no such precision.
        """
        self.probe, self.statistics, self.image_size = probe, statistics, image_size
        self.device = torch.device(device)
        self.precision = resolve_precision(precision, self.device)
        self._batches, self._prepared_bytes = _plan(probe, image_size, batch_size)
        self._share = self._batches[rank() :: world_size()]
        pin_memory = self.device.type == "cuda"
        self._stored: Iterable[StoredBatch] = stored_batches(split, self._share, num_workers, pin_memory)
        self._kept: list[_Batch] | None = None
        sides = (fit_size(*size, image_size) for size in probe.sizes)
        self.smallest_side = min(min(size) for size in sides)

    def read(
        self, model: SourceModel, progress: Callable[[int, int], None] | None = None
    ) -> Float32[Tensor, "pixels source_classes"]:
        """A model's predictions at the probe pixels.

        Args:
            model: In evaluation mode, on :attr:`device`. Its weights are laid out anew in memory (channels last).
            progress: Called after each batch of this process with how many are done and how many there are.

        Returns:
            Probabilities, the same on every rank. Not checked: a broken model gives NaN.
        """
        return self._read(model, progress, features=False, stages=False).probabilities

    def read_all(
        self, model: SourceModel, progress: Callable[[int, int], None] | None = None, stages: bool = True
    ) -> Reading:
        """A model's predictions at the probe pixels, and the features behind them.

        Args:
            model: As for :meth:`read`.
            progress: As for :meth:`read`.
            stages: Whether what each stage makes of an image is wanted too; it takes a few percent of the time.

        Returns:
            The reading, the same on every rank. Not checked: a broken model gives NaN.
        """
        return self._read(model, progress, features=True, stages=stages)

    @torch.no_grad()
    def _read(
        self, model: SourceModel, progress: Callable[[int, int], None] | None, features: bool, stages: bool
    ) -> Reading:
        # Convolutions take a tenth to a third less time so, and a pixel's channels lie together for the interpolation.
        model.to(memory_format=torch.channels_last)
        with forward_precision(self.precision, self.device):
            arrays = self._arrays(model, features, stages)
            for done, batch in enumerate(self._prepared()):
                scores, maps, embeddings = model.read(batch.images, stages)
                arrays.probabilities.put(batch.places.into, read_batch(probabilities_of(scores), batch.places))
                if features:
                    arrays.features.put(batch.places.into, read_batch(maps, batch.places))
                    arrays.image_features.put(batch.rows, maps.mean(dim=(2, 3), dtype=torch.float32))
                for stage, embedding in zip(arrays.stages, embeddings, strict=True):
                    stage.put(batch.rows, embedding)
                if progress is not None:
                    progress(done + 1, len(self._share))
        return arrays.whole().summed_over_ranks(self.device)

    def _arrays(self, model: SourceModel, features: bool, stages: bool) -> _Arrays:
        """Zeros, to which every rank adds its share."""
        widths: list[int] = []
        if stages:  # asked of the network itself: a rank without a batch has to know too
            side = min(self.smallest_side, max(64, model.minimum_side))  # what comes out is as wide for any size
            blank = torch.zeros(1, 3, side, side, device=self.device)
            widths = [stage.shape[1] for stage in model.features_and_embeddings(blank)[1]]
        pixels, images = (len(self.probe), len(self.probe.images)) if features else (len(self.probe), 0)
        dimensions = model.feature_channels if features else 0
        needed = len(self.probe) * (model.num_classes + dimensions) * torch.float32.itemsize
        fits = needed <= _READING_PART * free_bytes(self.device)
        device = self.device if fits else torch.device("cpu")
        return _Arrays(
            RowBuffer(pixels, model.num_classes, device),
            RowBuffer(pixels if features else 0, dimensions, device),
            RowBuffer(images, dimensions, device),
            [RowBuffer(images, width, device) for width in widths],
        )

    def _prepared(self) -> Iterator[_Batch]:
        """The batches of this process's share, kept for the next member if there is room."""
        if self._kept is not None:
            yield from self._kept
            return
        limit = _KEPT_BYTES if self.device.type == "cpu" else _KEPT_PART * free_bytes(self.device)
        keep, kept = self._prepared_bytes / world_size() <= limit, []
        for stored, places, rows in zip(self._stored, self._places, self._rows, strict=True):
            batch = _Batch(self._shown(stored), places, rows)
            yield batch
            if keep:
                kept.append(batch)
        if keep:
            self._kept, self._stored = kept, ()  # what read ahead has done its work

    def _shown(self, stored: StoredBatch) -> Float32[Tensor, "b 3 h w"]:
        images = stored.prepared(self.statistics, self.image_size, self.device)
        return images.contiguous(memory_format=torch.channels_last)

    @cached_property
    def _places(self) -> list[PixelPlaces]:
        """The pixel places of each batch of this process's share."""
        sizes = torch.tensor(self.probe.sizes)
        return [_places_in(self.probe, batch, sizes, self.device) for batch in self._share]

    @cached_property
    def _rows(self) -> list[Int64[Tensor, " b"]]:
        """Likewise, places of the images among those that have probe pixels."""
        rows = {image: row for row, image in enumerate(self.probe.images)}
        return [torch.tensor([rows[image] for image in batch], device=self.device) for batch in self._share]


@dataclass(frozen=True, eq=False)
class _Arrays:
    """Those of a :class:`Reading` while they are filled."""

    probabilities: RowBuffer
    features: RowBuffer
    image_features: RowBuffer
    stages: list[RowBuffer]

    def whole(self) -> Reading:
        return Reading(
            self.probabilities.whole(),
            self.features.whole(),
            self.image_features.whole(),
            tuple(stage.whole() for stage in self.stages),
        )


def _places_in(probe: ProbeSet, batch: Sequence[int], sizes: Tensor, device: torch.device) -> PixelPlaces:
    """The probe pixels of some images, on a device."""
    into = torch.cat([torch.arange(probe.starts[image], probe.starts[image + 1]) for image in batch])
    counts = torch.tensor([probe.starts[image + 1] - probe.starts[image] for image in batch])
    heights, widths = sizes[list(batch)].repeat_interleave(counts, dim=0).T.contiguous()
    images = torch.arange(len(batch)).repeat_interleave(counts)
    columns = (images, probe.rows[into], probe.columns[into], heights, widths, into)
    return PixelPlaces(*torch.stack(columns).to(device))


def _plan(probe: ProbeSet, image_size: int, batch_size: int) -> tuple[list[list[int]], int]:
    """Batches of images of equal prepared size, and how much memory all of them need."""
    groups: dict[tuple[int, int], list[int]] = {}
    for image, (height, width) in enumerate(probe.sizes):
        pixels = probe.pixels_of(image)
        if pixels.start < pixels.stop:
            groups.setdefault(fit_size(height, width, image_size), []).append(image)
    batches = [group[i : i + batch_size] for group in groups.values() for i in range(0, len(group), batch_size)]
    values = sum(3 * height * width * len(group) for (height, width), group in groups.items())
    return batches, values * torch.float32.itemsize
