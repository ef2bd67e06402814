"""Numbers that need one pass over a split, and a check of every file.

Axis names: ``classes`` runs over the label space, void not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from muster.data.labels import judge_labels
from muster.data.spec import VOID, Split, is_of_pixels, labelled
from muster.errors import DatasetError

_LEVELS = 256
_SMALLEST_STD = 1 / 255
"""One grey level: splits whose pixels are all alike can still be divided by their standard deviation."""


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel, of pixels scaled to 0..1: of red, green and blue in most images.

    Attributes:
        mean: One number per channel.
        std: One positive number per channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what images cannot be normalised with."""
        if not self.mean or len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise DatasetError(
                "Expected a mean and a positive standard deviation for each channel, but got mean "
                f"{self.mean} and std {self.std}."
            )


@dataclass(frozen=True)
class SplitCheck:
    """What a look at every file of a split found.

    Attributes:
        images: How many images the split names.
        problems: One message per image that cannot be used.
        class_pixels: Pixels of each class in the images that can be used.
        void_pixels: Void pixels in them.
        notes: What is unusual but no fault: classes without a pixel, images that are all void.
        class_images: In how many of them each class has a pixel.
        examples: For each class, the one with the most pixels of it; ``None`` for a class without a pixel.
        sizes: Rows and columns of each, in order.
        has_masks: Whether the truth is of pixels, and not of whole images.
        unusable: Names of the images that cannot be used.
    """

    images: int
    problems: tuple[str, ...]
    class_pixels: tuple[int, ...]
    void_pixels: int
    notes: tuple[str, ...]
    class_images: tuple[int, ...]
    examples: tuple[str | None, ...]
    sizes: tuple[tuple[int, int], ...]
    has_masks: bool
    unusable: tuple[str, ...]


def channel_statistics(split: Split) -> ChannelStatistics:
    """Mean and (population) standard deviation per channel over all pixels of all images, void ones included.

    Pixels of 8 bits are counted by level, so the result does not depend on the order of the images and loses no
    precision; others are added up in float64.

    Args:
        split: At least one image.

    Returns:
        The statistics; a standard deviation is at least 1/255. Of texts, which are not normalised, 0 and 1.

    Raises:
        DatasetError: If the split is empty, an image cannot be read, or has another number of channels.
    """
    if len(split) == 0:
        raise DatasetError(f"Split {split.name!r} of dataset {split.spec.name!r} has no image to take statistics of.")
    if split.spec.has_texts:
        return ChannelStatistics((0.0,), (1.0,))
    counted, added = _Levels(split.spec.channels), _Sums(split.spec.channels)
    for index, identifier in enumerate(split.identifiers):
        image = split[index].image
        if image.shape[0] != split.spec.channels:
            raise DatasetError(
                f"Expected images of {split.spec.channels} channel(s) in dataset {split.spec.name!r}, but "
                f"{identifier!r} has {image.shape[0]}."
            )
        (counted if image.dtype == torch.uint8 else added).add(image)
    if counted.images and added.images:
        raise DatasetError(
            f"Split {split.name!r} of dataset {split.spec.name!r} has {counted.images} images of 8 bits and "
            f"{added.images} of more. Say in dataset.yaml what their values mean: 'value_range: [0, 65535]'."
        )
    return (counted if counted.images else added).statistics()


class _Levels:
    """Counts of each level of 8 bits."""

    def __init__(self, channels: int) -> None:
        self.images = 0
        self.histogram = torch.zeros(channels, _LEVELS, dtype=torch.int64)

    def add(self, image: Tensor) -> None:
        self.images += 1
        for channel, pixels in enumerate(image):
            self.histogram[channel] += torch.bincount(pixels.flatten(), minlength=_LEVELS)

    def statistics(self) -> ChannelStatistics:
        share = self.histogram.double() / self.histogram.sum(dim=1, keepdim=True)
        levels = torch.arange(_LEVELS, dtype=torch.float64) / 255
        mean = share @ levels
        return _statistics(mean, (share * (levels - mean[:, None]) ** 2).sum(dim=1))


class _Sums:
    """Sums of numbers in 0..1 and of their squares: in float64 their difference keeps more digits than 16 bits have."""

    def __init__(self, channels: int) -> None:
        self.images = self.pixels = 0
        self.sums = torch.zeros(2, channels, dtype=torch.float64)

    def add(self, image: Tensor) -> None:
        values = image.flatten(1).double()
        self.images += 1
        self.pixels += values.shape[1]
        self.sums += torch.stack([values.sum(1), values.square().sum(1)])

    def statistics(self) -> ChannelStatistics:
        mean, square = self.sums / self.pixels
        return _statistics(mean, (square - mean.square()).clamp(min=0))


def _statistics(mean: Tensor, variance: Tensor) -> ChannelStatistics:
    std = variance.sqrt().clamp(min=_SMALLEST_STD)
    return ChannelStatistics(tuple(mean.tolist()), tuple(std.tolist()))


def class_pixel_counts(split: Split, num_classes: int) -> Int64[Tensor, " classes"]:
    """Number of pixels of each class.

    Args:
        split: Any split; an empty one has no pixels.
        num_classes: Size of the label space.

    Returns:
        int64; void is not counted, and a class that does not occur has 0.

    Raises:
        DatasetError: If a mask holds a value that is neither below ``num_classes`` nor void.
    """
    total = torch.zeros(num_classes, dtype=torch.int64)
    for index in range(len(split)):
        mask = split.mask(index)
        counts = torch.bincount(mask[labelled(mask)], minlength=num_classes)
        outside = counts[num_classes:].nonzero().flatten() + num_classes
        if len(outside):
            raise DatasetError(
                f"Mask {split.identifiers[index]!r} of dataset {split.spec.name!r} holds {outside.tolist()}, but there "
                f"are {num_classes} classes (0 to {num_classes - 1}) and {VOID} for void."
            )
        total += counts
    return total


def check_split(
    split: Split, progress: Callable[[int, int], None] | None = None, masks_only: bool = False
) -> SplitCheck:
    """Read every image of a split and collect all problems, instead of stopping at the first.

    Args:
        split: The split.
        progress: Called after each image with the number done and the number of all.
        masks_only: Whether the pixels of the images may be left unread, where that takes less time.

    Returns:
        The problems, and what the readable images hold.
    """
    problems: dict[str, str] = {}
    all_void: list[str] = []
    sizes: list[tuple[int, int]] = []
    classes = split.spec.num_classes
    total, seen, most = (torch.zeros(classes, dtype=torch.int64) for _ in range(3))
    void_pixels, has_masks = 0, True
    examples: dict[int, str] = {}
    for index, identifier in enumerate(split.identifiers):
        try:
            mask, size = _mask_and_size(split, index, masks_only)
        except DatasetError as error:
            problems[identifier] = str(error)
        else:
            known, has_masks = labelled(mask), is_of_pixels(mask)
            counts = torch.bincount(mask[known], minlength=classes)[:classes]
            total += counts
            void_pixels += int((~known).sum())
            seen += counts > 0
            examples |= dict.fromkeys((counts > most).nonzero().flatten().tolist(), identifier)
            most = torch.maximum(most, counts)
            sizes.append(size)
            if not known.any():
                all_void.append(identifier)
        if progress is not None:
            progress(index + 1, len(split))
    class_pixels = tuple(total.tolist())
    return SplitCheck(
        images=len(split),
        problems=tuple(problems.values()),
        class_pixels=class_pixels,
        void_pixels=void_pixels,
        notes=_notes(split, class_pixels, all_void, has_masks),
        class_images=tuple(seen.tolist()),
        examples=tuple(examples.get(index) for index in range(classes)),
        sizes=tuple(sizes),
        has_masks=has_masks,
        unusable=tuple(problems),
    )


def _mask_and_size(split: Split, index: int, masks_only: bool) -> tuple[Tensor, tuple[int, int]]:
    """The mask of an image, and rows and columns: of the image, where that was read."""
    if masks_only:
        mask = split.mask(index)
        return mask, (mask.shape[0], mask.shape[1])
    sample = split[index]
    return sample.mask, (sample.image.shape[1], sample.image.shape[2])


def require_usable(split: Split, masks_only: bool = False) -> None:
    """Read every image before hours of work go into it, or into what will be measured on it.

    Args:
        split: Any split that a command reads.
        masks_only: See :func:`check_split`.

    Raises:
        DatasetError: If an image cannot be read, with the first few problems, or if fewer than two classes have a
            labelled pixel.

    Warns:
        UserWarning: If a class has none.
    """
    found = check_split(split, masks_only=masks_only)
    if found.problems:
        more = f" (and {len(found.problems) - 3} more)" if len(found.problems) > 3 else ""
        raise DatasetError(" ".join(found.problems[:3]) + more)
    judge_labels(split, found.class_pixels, found.has_masks)


def _notes(split: Split, class_pixels: tuple[int, ...], all_void: list[str], has_masks: bool) -> tuple[str, ...]:
    notes, where = [], f"split {split.name!r} of dataset {split.spec.name!r}"
    absent = [name for name, pixels in zip(split.spec.classes, class_pixels, strict=True) if pixels == 0]
    if absent:
        notes.append(
            f"No pixel of {', '.join(absent)} in {where}. (A mask that stores a class as 255 makes it void.)"
            if has_masks
            else f"No image of {', '.join(absent)} in {where}."
        )
    if all_void:
        shown = ", ".join(all_void[:5]) + (", ..." if len(all_void) > 5 else "")
        told = "are all void" if has_masks else "have none of the classes"
        notes.append(f"{len(all_void)} image(s) of dataset {split.spec.name!r} {told}: {shown}.")
    return tuple(notes)
