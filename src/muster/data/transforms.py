"""From a stored image to what a model sees, in training and everywhere else.

Axis names: ``h`` and ``w`` are the rows and columns of the stored image, ``y`` and ``x`` those of the prepared image,
``crop`` the side of a training crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from muster.data.colour_jitter import jitter_colours
from muster.data.spec import VOID
from muster.data.statistics import ChannelStatistics
from muster.errors import ConfigError

SIDE_MULTIPLE = 32
"""Sides of what a model sees are multiples of this: five halvings must come out even."""


def fit_size(height: int, width: int, image_size: int, multiple: int = SIDE_MULTIPLE) -> tuple[int, int]:
    """Size at which a whole image is shown to a model.

    Args:
        height: Rows of the stored image.
        width: Its columns.
        image_size: Length in pixels that the longer side is brought to.
        multiple: What both sides are multiples of.

    Returns:
        Rows and columns: the image scaled so that its longer side is ``image_size``, then each side rounded to the
        nearest positive multiple (upwards from the middle).

    Raises:
        ConfigError: If an argument is not positive.
    """
    if min(height, width, image_size, multiple) < 1:
        raise ConfigError(
            f"Expected positive sizes, but got height {height}, width {width}, image_size {image_size}, "
            f"multiple {multiple}."
        )
    longer = max(height, width)
    rows, columns = (
        # In whole numbers, so that no machine rounds differently: floor(side * image_size / longer / multiple + 1/2).
        max(1, (2 * side * image_size + longer * multiple) // (2 * longer * multiple)) * multiple
        for side in (height, width)
    )
    return rows, columns


def prepare_image(
    image: UInt8[Tensor, "*b 3 h w"], statistics: ChannelStatistics, image_size: int
) -> Float32[Tensor, "*b 3 y x"]:
    """Turn a stored image into what a model sees in probing, evaluation and prediction.

    Args:
        image: uint8, RGB; on any device. Several of one size can be prepared at once.
        statistics: The statistics of the dataset that the image belongs to.
        image_size: See :func:`fit_size`.

    Returns:
        The image resized to :func:`fit_size` (bilinear, with antialiasing), scaled to 0..1 and normalised; on the same
        device.
    """
    size = fit_size(image.shape[-2], image.shape[-1], image_size)
    resized = transforms.resize(image.float(), list(size), InterpolationMode.BILINEAR, antialias=True)
    return _normalise(resized, statistics)


class Crop(NamedTuple):
    """A training example before its colours are normalised.

    Attributes:
        image: uint8, RGB; 0 in the padding.
        mask: uint8, class indices; void in the padding.
        box: What is no padding: first row and the one after the last, first column and the one after the last.
    """

    image: UInt8[Tensor, "3 crop crop"]
    mask: UInt8[Tensor, "crop crop"]
    box: Int64[Tensor, " 4"]


@dataclass(frozen=True)
class TrainingTransform:
    """Random flip, rescale and crop of an image together with its mask.

    The image is rescaled by a random factor relative to :func:`fit_size`, and a square is cut out of it at random;
    where the rescaled image is smaller than the square, it lies in it at random, and the rest is padding (0 after
    normalisation in the image, void in the mask). The region is cut out of the stored image first and only that is
    resized, which shows the same to within a pixel of the stored image and costs less.

    Attributes:
        statistics: The statistics of the dataset.
        image_size: Length of the longer side at factor 1.
        crop_size: Side of the square; a multiple of 32.
        scale_range: Smallest and largest factor. Factors are drawn log-uniformly: half and double are equally likely.
        flip: Whether to mirror every other image left to right.
        colour_jitter: Strength of random changes of the colours, see :func:`muster.data.colour_jitter.jitter_colours`;
            with 0 nothing is drawn for them, and examples are those of a transform that knows no colours.

    Source:
        Mensink et al., Factors of Influence, 2021, section 4.1 names flip, rescale and crop, and no other augmentation;
        the range and the distribution of the factor are ours.
    """

    statistics: ChannelStatistics
    image_size: int
    crop_size: int
    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    colour_jitter: float = 0.0

    def __post_init__(self) -> None:
        """Check what was asked for.

        Raises:
            ConfigError: If a size is not positive, ``crop_size`` not a multiple of 32, or ``scale_range`` not a range.
        """
        if self.crop_size < 1 or self.crop_size % SIDE_MULTIPLE:
            nearest = max(1, round(self.crop_size / SIDE_MULTIPLE)) * SIDE_MULTIPLE
            raise ConfigError(
                f"Expected crop_size to be a multiple of {SIDE_MULTIPLE}, but got {self.crop_size}; try {nearest}."
            )
        if self.image_size < 1:
            raise ConfigError(f"Expected image_size to be positive, but got {self.image_size}.")
        if not 0 < self.scale_range[0] <= self.scale_range[1] < math.inf:
            raise ConfigError(
                f"Expected scale_range to be a smallest and a largest positive factor, but got {self.scale_range}."
            )

    def __call__(
        self, image: UInt8[Tensor, "3 h w"], mask: UInt8[Tensor, "h w"], generator: np.random.Generator
    ) -> tuple[Float32[Tensor, "3 crop crop"], Int64[Tensor, "crop crop"]]:
        """Draw one training example from an image.

        Args:
            image: uint8, RGB.
            mask: uint8, class indices or void.
            generator: Where the randomness comes from; the same number of draws whatever the image.

        Returns:
            Normalised image and mask. The mask holds only values of the stored mask, or void.
        """
        crop = self.draw(image, mask, generator)
        return normalise_crops(crop.image[None], crop.box[None], self.statistics)[0], crop.mask.long()

    def draw(self, image: UInt8[Tensor, "3 h w"], mask: UInt8[Tensor, "h w"], generator: np.random.Generator) -> Crop:
        """The same example in whole numbers: a quarter of the memory, to be normalised where the model is.

        Args:
            image: uint8, RGB.
            mask: uint8, class indices or void.
            generator: Where the randomness comes from.

        Returns:
            What :func:`normalise_crops` takes.
        """
        smallest, largest = self.scale_range
        factor = math.exp(generator.uniform(math.log(smallest), math.log(largest)))
        full_height, full_width = fit_size(image.shape[1], image.shape[2], self.image_size)
        rows = self._place(image.shape[1], max(1, round(full_height * factor)), generator)
        columns = self._place(image.shape[2], max(1, round(full_width * factor)), generator)
        mirrored = self.flip and bool(generator.random() < 0.5)

        source = (..., slice(rows.start, rows.stop), slice(columns.start, columns.stop))
        shown = [rows.shown, columns.shown]
        image = transforms.resize(image[source], shown, InterpolationMode.BILINEAR, antialias=True)
        mask = transforms.resize(mask[source][None], shown, InterpolationMode.NEAREST_EXACT)[0]
        if self.colour_jitter:
            image = jitter_colours(image, self.colour_jitter, generator)

        left = self.crop_size - columns.offset - columns.shown if mirrored else columns.offset
        target = (..., slice(rows.offset, rows.offset + rows.shown), slice(left, left + columns.shown))
        example = torch.zeros(3, self.crop_size, self.crop_size, dtype=torch.uint8)
        labels = torch.full((self.crop_size, self.crop_size), VOID, dtype=torch.uint8)
        example[target] = image.flip(-1) if mirrored else image
        labels[target] = mask.flip(-1) if mirrored else mask
        box = torch.tensor([rows.offset, rows.offset + rows.shown, left, left + columns.shown])
        return Crop(example, labels, box)

    def _place(self, stored: int, rescaled: int, generator: np.random.Generator) -> _Placement:
        """Choose which part of one side is shown, and where in the square."""
        shown = min(self.crop_size, rescaled)
        taken = min(stored, max(1, round(stored * shown / rescaled)))
        start, offset = (
            int(generator.integers(room, endpoint=True)) for room in (stored - taken, self.crop_size - shown)
        )
        return _Placement(start=start, stop=start + taken, shown=shown, offset=offset)


@dataclass(frozen=True)
class _Placement:
    """Along one side: stored pixels ``start`` to ``stop`` become ``shown`` pixels from ``offset`` on in the square."""

    start: int
    stop: int
    shown: int
    offset: int


def normalise_crops(
    images: UInt8[Tensor, "b 3 crop crop"], boxes: Int64[Tensor, "b 4"], statistics: ChannelStatistics
) -> Float32[Tensor, "b 3 crop crop"]:
    """Normalise training examples, on whatever device they are.

    Args:
        images: Of :class:`Crop`.
        boxes: Likewise.
        statistics: What to normalise with.

    Returns:
        float32; 0 in the padding.
    """
    places = torch.arange(images.shape[-1], device=images.device)
    top, bottom, left, right = boxes.T[:, :, None].unbind()
    rows, columns = (places >= top) & (places < bottom), (places >= left) & (places < right)
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    return _normalise(images.float(), statistics).masked_fill_(~inside, 0)


def _normalise(image: Float32[Tensor, "*b 3 y x"], statistics: ChannelStatistics) -> Float32[Tensor, "*b 3 y x"]:
    normalised: Tensor = transforms.normalize(image / 255, list(statistics.mean), list(statistics.std))
    return normalised
