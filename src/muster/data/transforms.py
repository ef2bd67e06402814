"""From a stored image to what a model sees, in training and everywhere else.

Axis names: ``h`` and ``w`` are the rows and columns of the stored image, ``y`` and ``x`` those of the prepared image,
``rows`` and ``columns`` the sides of a training crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, Num
from torch import Tensor

from muster.data.colour_jitter import jitter_colours
from muster.data.preprocessing import Preprocessing, middle
from muster.data.resizing import resized
from muster.data.spec import as_numbers
from muster.data.texts import cut_text
from muster.data.truth_cuts import OF_PIXELS, Cut, Placement, Span, TruthCut
from muster.errors import ConfigError


def prepare_image(
    image: Num[Tensor, "*b channels h w"], preprocessing: Preprocessing
) -> Float32[Tensor, "*b channels y x"]:
    """Turn a stored image into what a model sees in probing, evaluation and prediction.

    Args:
        image: uint8, RGB (or float32 in 0..1); on any device. Several of one size can be prepared at once.
        preprocessing: What is done to it, with a size.

    Returns:
        The image resized as :meth:`muster.data.ImageSize.resized` says (with antialiasing), its middle cut out where
        that is asked for, scaled to 0..1 and normalised, its channels in the wanted order; on the same device. Of a
        text its first characters, see :func:`muster.data.texts.cut_text`.
    """
    if preprocessing.of_text is not None:
        return cut_text(image, preprocessing.of_text)
    size, white = preprocessing.known_size, white_level(image)
    shown = resized(image.float(), size.resized(image.shape[-2], image.shape[-1]), preprocessing.interpolation)
    if size.crop is not None:
        top, left = (middle(side, cut) for side, cut in zip(shown.shape[-2:], size.crop, strict=True))
        shown = shown[..., top : top + size.crop[0], left : left + size.crop[1]]
    if preprocessing.interpolation == "bicubic":
        shown = shown.clamp(0, white)  # it swings beyond the range at edges
    return _normalise(shown / white, preprocessing)


def white_level(image: Tensor) -> float:
    """The number that stands for 1: images of 8 bits are whole numbers up to 255, others float32 in 0..1."""
    return 255.0 if image.dtype == torch.uint8 else 1.0


class Crop(NamedTuple):
    """A training example before its colours are normalised.

    Attributes:
        image: uint8, RGB (or float32 in 0..1); 0 in the padding.
        mask: uint8, class indices, void in the padding; or numbers such as depths, NaN in the padding; or the class of
            the whole image.
        box: What is no padding: first row and the one after the last, first column and the one after the last.
    """

    image: Num[Tensor, "channels rows columns"]
    mask: Num[Tensor, "_ _"]
    box: Int64[Tensor, " 4"]


@dataclass(frozen=True)
class TrainingTransform:
    """Random flip, rescale and crop of an image together with its mask.

    The image is rescaled by a random factor relative to the size at which it is shown, and a crop is cut out of it at
    random; where the rescaled image is smaller than the crop, it lies in it at random, and the rest is padding (0 after
    normalisation in the image, void in the mask). The region is cut out of the stored image first and only that is
    resized, which shows the same to within a pixel of the stored image and costs less. Of masks the nearest pixel is
    taken: nothing is blended over an edge, or with what is not known. Depths stay what they are when the image is
    rescaled (M21 does not say; their metres are those of the scene, whatever size it is shown at).

    Attributes:
        preprocessing: How images are shown, at factor 1.
        crop_size: Rows and columns of the crop, in pixels; one number for a square.
        scale_range: Smallest and largest factor. Factors are drawn log-uniformly: half and double are equally likely.
        flip: Whether to mirror every other image left to right.
        scale: All factors are relative to this one.
        truth_cut: How the truth of a crop is made of that of the image, see :mod:`muster.data.truth_cuts`.
        colour_jitter: Strength of random changes of the colours, see :func:`muster.data.colour_jitter.jitter_colours`;
            with 0 nothing is drawn for them, and examples are those of a transform that knows no colours.

    Source:
        Mensink et al., Factors of Influence, 2021, section 4.1 names flip, rescale and crop, and no other augmentation;
        the range and the distribution of the factor are ours.
    """

    preprocessing: Preprocessing
    crop_size: int | tuple[int, int]
    scale_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    scale: float = 1.0
    colour_jitter: float = 0.0
    truth_cut: TruthCut = OF_PIXELS

    def __post_init__(self) -> None:
        """Check what was asked for.

        Raises:
            ConfigError: If a size is not positive, or ``scale_range`` not a range.
        """
        if min(self.crop_shape) < 1:
            raise ConfigError(f"Expected crop_size to be positive, but got {self.crop_size}.")
        if not 0 < self.scale_range[0] <= self.scale_range[1] < math.inf:
            raise ConfigError(
                f"Expected scale_range to be a smallest and a largest positive factor, but got {self.scale_range}."
            )

    @property
    def crop_shape(self) -> tuple[int, int]:
        """Rows and columns of a crop."""
        return self.crop_size if isinstance(self.crop_size, tuple) else (self.crop_size, self.crop_size)

    def __call__(
        self, image: Num[Tensor, "channels h w"], mask: Num[Tensor, "_ _"], generator: np.random.Generator
    ) -> tuple[Float32[Tensor, "channels rows columns"], Num[Tensor, "_ _"]]:
        """Draw one training example from an image.

        Args:
            image: uint8, RGB (or float32 in 0..1).
            mask: uint8, class indices or void.
            generator: Where the randomness comes from; the same number of draws whatever the image.

        Returns:
            Normalised image and mask. The mask holds only values of the stored mask, or void.
        """
        crop = self.draw(image, mask, generator)
        return normalise_crops(crop.image[None], crop.box[None], self.preprocessing)[0], as_numbers(crop.mask)

    def draw(
        self, image: Num[Tensor, "channels h w"], mask: Num[Tensor, "_ _"], generator: np.random.Generator
    ) -> Crop:
        """The same example in whole numbers: a quarter of the memory, to be normalised where the model is.

        Args:
            image: uint8, RGB (or float32 in 0..1).
            mask: uint8, class indices or void.
            generator: Where the randomness comes from.

        Returns:
            What :func:`normalise_crops` takes; of a text, of which nothing is random, what is seen everywhere.
        """
        if self.preprocessing.of_text is not None:
            return Crop(cut_text(image, self.crop_shape[1]), mask, torch.tensor([0, 1, 0, self.crop_shape[1]]))
        cut = self._place(image, mask, generator)
        shown = (cut.rows.shown, cut.columns.shown)
        image = resized(image[cut.source], shown, "bilinear")  # type: ignore[index]
        if self.colour_jitter:
            image = jitter_colours(image, self.colour_jitter, generator)
        example = torch.zeros(image.shape[0], *cut.shape, dtype=image.dtype)
        example[cut.target] = image.flip(-1) if cut.is_mirrored else image  # type: ignore[index]
        top, left = cut.rows.offset, cut.left
        box = torch.tensor([top, top + cut.rows.shown, left, left + cut.columns.shown])
        return Crop(example, self.truth_cut(mask, cut), box)

    def _place(self, image: Tensor, truth: Tensor, generator: np.random.Generator) -> Cut:
        """Choose which part of an image is shown, at which scale, and where in the crop."""
        smallest, largest = self.scale_range
        factor = self.scale * math.exp(generator.uniform(math.log(smallest), math.log(largest)))
        stored = image.shape[1], image.shape[2]
        rescaled = [max(1, round(side * factor)) for side in self.preprocessing.known_size.resized(*stored)]
        rows, columns = (_Room.of(*sides) for sides in zip(stored, rescaled, self.crop_shape, strict=True))
        focus = self.truth_cut.focus(truth, (rows.taken, columns.taken), generator)
        down, across = (None, None) if focus is None else focus
        return Cut(
            rows.place(down, generator),
            columns.place(across, generator),
            self.crop_shape,
            self.flip and bool(generator.random() < 0.5),
        )


class _Room(NamedTuple):
    """Along one side: so many of the stored pixels become so many of those of the crop."""

    stored: int
    taken: int
    side: int
    shown: int

    @classmethod
    def of(cls, stored: int, rescaled: int, side: int) -> _Room:
        shown = min(side, rescaled)
        return cls(stored, min(stored, max(1, round(stored * shown / rescaled))), side, shown)

    def place(self, focus: Span | None, generator: np.random.Generator) -> Placement:
        """Choose which part is shown, and where in the crop."""
        first, last = 0, self.stored - self.taken
        if focus is not None:
            low, high = math.ceil(focus[1]) - self.taken, math.floor(focus[0])
            if low > high:  # there is no room for all of it: its middle is shown
                low = high = round((focus[0] + focus[1] - self.taken) / 2)
            first, last = (min(max(end, 0), last) for end in (low, high))
        start = first + int(generator.integers(last - first, endpoint=True))
        offset = int(generator.integers(self.side - self.shown, endpoint=True))
        return Placement(start=start, stop=start + self.taken, shown=self.shown, offset=offset)


def normalise_crops(
    images: Num[Tensor, "b channels rows columns"], boxes: Int64[Tensor, "b 4"], preprocessing: Preprocessing
) -> Float32[Tensor, "b channels rows columns"]:
    """Normalise training examples, on whatever device they are.

    Args:
        images: Of :class:`Crop`.
        boxes: Likewise.
        preprocessing: What to normalise with, and the order of channels; crops have their size already.

    Returns:
        float32; 0 in the padding. Texts come as they go in.
    """
    if preprocessing.of_text is not None:
        return images.float()
    down, across = (torch.arange(side, device=images.device) for side in images.shape[-2:])
    top, bottom, left, right = boxes.T[:, :, None].unbind()
    rows, columns = (down >= top) & (down < bottom), (across >= left) & (across < right)
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    return _normalise(images.float() / white_level(images), preprocessing).masked_fill_(~inside, 0)


def _normalise(
    image: Float32[Tensor, "*b channels y x"], preprocessing: Preprocessing
) -> Float32[Tensor, "*b channels y x"]:
    statistics = preprocessing.statistics
    mean, std = (image.new_tensor(each)[:, None, None] for each in (statistics.mean, statistics.std))
    normalised = image.sub(mean).div_(std)
    return normalised.flip(-3) if preprocessing.channel_order == "bgr" else normalised
