"""What a member says at the probe pixels, without ever making a score map of the image's size.

Axis names: ``pixels`` the probe pixels (of one image, or of all), ``source_classes`` the member's classes, ``h`` and
``w`` the rows and columns of its own score map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.utils.data import DataLoader

from muster.data import ChannelStatistics, Split, fit_size
from muster.data.loading import PreparedBatch, PreparedSplit
from muster.models import Segmenter
from muster.models.prediction import predict_probabilities
from muster.probe.pixels import ProbeSet
from muster.ranks import rank, sum_over_ranks, world_size

_KEPT_BYTES = 1 << 30
"""Prepared images are kept for the next member if all of them fit into this much memory."""


def read_pixels(
    probabilities: Float[Tensor, "source_classes h w"],
    rows: Int64[Tensor, " pixels"],
    columns: Int64[Tensor, " pixels"],
    size: tuple[int, int],
) -> Float[Tensor, "pixels source_classes"]:
    """Interpolate a map bilinearly at some pixels only.

    Args:
        probabilities: A map of any size.
        rows: In coordinates of ``size``, on the map's device.
        columns: Likewise.
        size: Rows and columns that the map would be brought to.

    Returns:
        What ``torch.nn.functional.interpolate(..., size, mode="bilinear", align_corners=False)`` has at these pixels,
        with exact coordinates: within 1e-6 of the map's range of what it gives for a map in double precision.
    """
    (upper_left, upper_right, lower_left, lower_right), across, down = read_corners(probabilities, rows, columns, size)
    # From differences, so that a map without any is read as it is.
    upper = upper_right.sub_(upper_left).mul_(across).add_(upper_left)
    lower = lower_right.sub_(lower_left).mul_(across).add_(lower_left)
    return lower.sub_(upper).mul_(down).add_(upper).T.contiguous()


def read_corners(
    maps: Float[Tensor, "source_classes h w"],
    rows: Int64[Tensor, " pixels"],
    columns: Int64[Tensor, " pixels"],
    size: tuple[int, int],
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
    """The four cells of a map that bilinear interpolation would mix at each pixel, not yet mixed.

    Args:
        maps: A map of any size.
        rows: In coordinates of ``size``, on the map's device.
        columns: Likewise.
        size: Rows and columns that the map would be brought to.

    Returns:
        The cells above left, above right, below left and below right, each ``[source_classes, pixels]``; then how far
        each pixel is from left to right and from top to bottom, ``[pixels]`` in 0..1.
    """
    height, width = maps.shape[1:]
    dtype = torch.promote_types(maps.dtype, torch.float32)
    top, bottom, down = _neighbours(rows, height, size[0], dtype)
    left, right, across = _neighbours(columns, width, size[1], dtype)
    flat = maps.flatten(1)
    # Indexing with brackets gives the same ten times slower.
    corners = tuple(flat.index_select(1, row * width + column) for row in (top, bottom) for column in (left, right))
    return (corners[0], corners[1], corners[2], corners[3]), across, down


def _neighbours(places: Tensor, length: int, wanted: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells of one axis next to each place, and how far it is from the first to the second.

    The coordinate (place + 1/2) length / wanted - 1/2 is a fraction of whole numbers, so nothing is rounded before the
    last division. torch's own kernels round on the way, each release and processor in its own manner.
    """
    whole = 2 * wanted
    numerator = ((2 * places + 1) * length - wanted).clamp(min=0)
    first = numerator.div(whole, rounding_mode="floor")
    share = (numerator - first * whole).to(dtype) / whole
    return first, (first + 1).clamp(max=length - 1), share


@dataclass(frozen=True, eq=False)
class Reading:
    """All that metrics ask of one member, from one pass; float32 on the CPU.

    Attributes:
        probabilities: Source probabilities at the probe pixels.
        features: The map before the final classifier, interpolated at the probe pixels.
        image_features: Its spatial mean, one row an image of :attr:`ProbeSet.images`.
        stages: Per stage of the network, first to last, the spatial mean of its output for these images.
    """

    probabilities: Float32[Tensor, "pixels source_classes"]
    features: Float32[Tensor, "_ dimensions"]
    image_features: Float32[Tensor, "images dimensions"]
    stages: tuple[Float32[Tensor, "images _"], ...]

    @classmethod
    def of_probabilities(cls, probabilities: Float32[Tensor, "pixels source_classes"]) -> Reading:
        """A reading of which nothing else is wanted."""
        nothing = torch.zeros(0, 0)
        return cls(probabilities, nothing, nothing, ())

    def summed_over_ranks(self, device: torch.device) -> Reading:
        """Put the shares of all processes together."""
        return Reading(
            sum_over_ranks(self.probabilities, device),
            sum_over_ranks(self.features, device),
            sum_over_ranks(self.image_features, device),
            tuple(sum_over_ranks(stage, device) for stage in self.stages),
        )


class ProbeReader:
    """Runs one member after the other over the probe images.

    Images of equal prepared size share a batch, wherever they are in the split. In a distributed run whole batches are
    dealt out: a batch then holds the same images whatever the number of processes, and the numbers are the same too.

    Attributes:
        probe: The probe set.
        statistics: What the images are normalised with.
        image_size: Longer side at which members see them, in pixels.
        device: Where members run.
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
        """
        self.probe, self.statistics, self.image_size = probe, statistics, image_size
        self.device = torch.device(device)
        self.num_workers = num_workers
        self._pictures = PreparedSplit(split, statistics, image_size)
        self._batches, prepared_bytes = _plan(probe, image_size, batch_size)
        sides = (fit_size(*size, image_size) for size in probe.sizes)
        self.smallest_side = min(min(size) for size in sides)
        self._keep = prepared_bytes / world_size() <= _KEPT_BYTES
        self._kept: list[PreparedBatch] | None = None

    def read(
        self, model: Segmenter, progress: Callable[[int, int], None] | None = None
    ) -> Float32[Tensor, "pixels source_classes"]:
        """What a model says at the probe pixels.

        Args:
            model: In evaluation mode, on :attr:`device`.
            progress: Called after each batch of this process with how many are done and how many there are.

        Returns:
            Probabilities on the CPU, the same on every rank. Not checked: a broken model gives NaN.
        """
        result = torch.zeros(len(self.probe), model.num_classes)
        share = self._batches[rank() :: world_size()]
        with _full_precision(self.device):
            for done, batch in enumerate(self._prepared(share)):
                for image, said in self._read_batch(model, batch):
                    result[self.probe.pixels_of(image)] = said
                if progress is not None:
                    progress(done + 1, len(share))
        return sum_over_ranks(result, self.device)

    @torch.no_grad()
    def read_all(
        self, model: Segmenter, progress: Callable[[int, int], None] | None = None, stages: bool = True
    ) -> Reading:
        """What a model says at the probe pixels, and the features that it says it from.

        Args:
            model: In evaluation mode, on :attr:`device`.
            progress: As for :meth:`read`.
            stages: Whether what each stage makes of an image is wanted too; it takes a few percent of the time.

        Returns:
            The reading, the same on every rank. Not checked: a broken model gives NaN.
        """
        reading = self._blank_reading(model, stages)
        rows = {image: row for row, image in enumerate(self.probe.images)}
        share = self._batches[rank() :: world_size()]
        with _full_precision(self.device):
            for done, batch in enumerate(self._prepared(share)):
                images = batch.images.to(self.device)
                maps, embeddings = model.features_and_embeddings(images) if stages else (model.features(images), [])
                said, maps = model.head(maps).float().softmax(dim=1), maps.float()
                for place, image in enumerate(batch.indices):
                    pixels = self.probe.pixels_of(image)
                    reading.probabilities[pixels] = self._at_pixels(said[place], image)
                    reading.features[pixels] = self._at_pixels(maps[place], image)
                places = [rows[image] for image in batch.indices]
                reading.image_features[places] = maps.mean(dim=(2, 3)).cpu()
                for stage, embedding in zip(reading.stages, embeddings, strict=True):
                    stage[places] = embedding.float().cpu()
                if progress is not None:
                    progress(done + 1, len(share))
        return reading.summed_over_ranks(self.device)

    def _blank_reading(self, model: Segmenter, stages: bool) -> Reading:
        """Zeros, to which every rank adds its share."""
        pixels, images = len(self.probe), len(self.probe.images)
        side = min(self.smallest_side, max(64, model.body.minimum_side))  # what comes out is as wide for any size
        blank = torch.zeros(1, 3, side, side, device=self.device)
        embeddings = model.stage_embeddings(blank) if stages else []
        return Reading(
            probabilities=torch.zeros(pixels, model.num_classes),
            features=torch.zeros(pixels, model.feature_channels),
            image_features=torch.zeros(images, model.feature_channels),
            stages=tuple(torch.zeros(images, stage.shape[1]) for stage in embeddings),
        )

    def _at_pixels(self, maps: Float[Tensor, "channels h w"], image: int) -> Float[Tensor, "pixels channels"]:
        pixels = self.probe.pixels_of(image)
        rows, columns = (places[pixels].to(self.device) for places in (self.probe.rows, self.probe.columns))
        return read_pixels(maps, rows, columns, self.probe.sizes[image]).cpu()

    def _read_batch(self, model: Segmenter, batch: PreparedBatch) -> Iterator[tuple[int, Tensor]]:
        maps = predict_probabilities(model, batch.images.to(self.device))
        for image, probabilities in zip(batch.indices, maps, strict=True):
            yield image, self._at_pixels(probabilities, image)

    def _prepared(self, share: list[list[int]]) -> Iterable[PreparedBatch]:
        if self._kept is not None:
            return self._kept
        loader = DataLoader(self._pictures, batch_sampler=share, num_workers=self.num_workers, collate_fn=_stack)
        if not self._keep:
            return loader
        self._kept = list(loader)
        return self._kept


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


def _stack(items: list[tuple[int, Tensor, Tensor]]) -> PreparedBatch:
    """A batch without its masks: labels are known already."""
    return PreparedBatch([index for index, _, _ in items], torch.stack([image for _, image, _ in items]), [])


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    """No TF32: its error is a thousand times what scores may differ by between machines."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
