"""Which pixels of the target's training images transferability is measured on.

Axis names: ``pixels`` the probe pixels, image after image in the order of the split; ``h`` and ``w`` the rows and
columns of one mask as stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, Integer
from torch import Tensor

from muster.data import VOID, Split, class_pixel_counts, is_of_pixels, units_of
from muster.errors import SelectionError


@dataclass(frozen=True, eq=False)
class ProbeSet:
    """Pixels with their labels, the same for every member.

    Attributes:
        rows: int64 ``[pixels]``, in coordinates of the mask as stored.
        columns: int64 ``[pixels]``, likewise.
        labels: int64 ``[pixels]``, target classes; never void.
        starts: Where the pixels of each image begin, and the number of all at the end: those of image ``i`` of the
            split are ``starts[i]`` to ``starts[i + 1]``, none for an image that is all void.
        sizes: Rows and columns of each image's mask.
        image_sizes: Those of each image; none if they are those of its mask.
        void_images: Identifiers of the images without a labelled pixel.
        class_shares: float64 ``[images, classes]``: which part of each image's labelled pixels (all of them, not only
            the drawn ones) each class has; zeros for an image that is all void. What else is meant by a part, its
            split says (:attr:`muster.data.Split.read_shares`).
        content: SHA-256 over the pixels of all images as decoded, so that a cache notices an exchanged image.
        numbers: float32 ``[pixels]``: what the labels stand for, where they are intervals of numbers such as depths.
    """

    rows: Int64[Tensor, " pixels"]
    columns: Int64[Tensor, " pixels"]
    labels: Int64[Tensor, " pixels"]
    starts: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    void_images: tuple[str, ...]
    class_shares: Float64[Tensor, "images classes"]
    content: str
    image_sizes: tuple[tuple[int, int], ...] = ()
    numbers: Float32[Tensor, " pixels"] | None = None

    def __len__(self) -> int:
        """Number of pixels."""
        return len(self.labels)

    def pixels_of(self, image: int) -> slice:
        """Place of one image's pixels among all."""
        return slice(self.starts[image], self.starts[image + 1])

    @property
    def image_of_pixel(self) -> Int64[Tensor, " pixels"]:
        """Which image of the split each pixel is from."""
        return torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.starts).diff())

    @property
    def images(self) -> tuple[int, ...]:
        """The images of the split that have pixels in the set, ascending."""
        return tuple(image for image in range(len(self.sizes)) if self.starts[image] < self.starts[image + 1])

    def of_images(self, images: Sequence[int]) -> ProbeSet:
        """The part of the set that lies in some images.

        Args:
            images: Ascending places in the split, of images that have pixels; at least one.

        Returns:
            Of a split of these images alone.
        """
        chosen = list(images)
        counts = [self.starts[image + 1] - self.starts[image] for image in chosen]
        places = torch.cat([torch.arange(self.starts[image], self.starts[image + 1]) for image in chosen])
        return ProbeSet(
            rows=self.rows[places],
            columns=self.columns[places],
            labels=self.labels[places],
            starts=(0, *accumulate(counts)),
            sizes=tuple(self.sizes[image] for image in chosen),
            void_images=(),
            class_shares=self.class_shares[chosen],
            content=hashlib.sha256(f"{self.content} {chosen}".encode()).hexdigest(),
            image_sizes=tuple(self.image_sizes[image] for image in chosen) if self.image_sizes else (),
            numbers=None if self.numbers is None else self.numbers[places],
        )


def draw_probe_set(split: Split, pixels_per_image: int = 1000, seed: int = 0) -> ProbeSet:
    """Draw pixels from every image, rare classes as often as frequent ones.

    From each image come ``pixels_per_image`` labelled pixels, with replacement, with probability inversely proportional
    to the frequency of the pixel's class over the whole split. What is drawn at random depends on the seed and the
    image's place in the split alone. A class without any pixel is fine; an image that is all void contributes none,
    and one with a class for the whole image one unit.

    Args:
        split: The chosen target training images.
        pixels_per_image: How many from each image, positive.
        seed: Not negative.

    Returns:
        The probe set.

    Raises:
        SelectionError: If an argument is out of range, the split is empty, or every pixel is void.
        DatasetError: If an image cannot be read or a mask holds a value outside the label space.

    Source:
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, section 3.2.
    """
    if pixels_per_image < 1 or seed < 0:
        raise SelectionError(
            f"Expected pixels_per_image of at least 1 and a seed of at least 0, but got {pixels_per_image} and {seed}."
        )
    weights = _class_weights(split)
    drawn: list[tuple[Tensor, Tensor, Tensor]] = []
    starts, sizes, image_sizes, void_images = [0], [], [], []
    shares, numbers = list[Tensor](), list[Tensor]()
    content = hashlib.sha256()
    for place in range(len(split)):
        identifier, image, mask = split[place]
        content.update(repr(tuple(image.shape)).encode() + image.contiguous().numpy().tobytes())
        pixels = _draw_pixels(mask, weights, units_of(mask, pixels_per_image), np.random.default_rng((seed, place)))
        drawn.append(pixels)
        if split.read_numbers is not None:
            numbers.append(split.read_numbers(identifier)[pixels[:2]].float())
        starts.append(starts[-1] + len(pixels[0]))
        sizes.append((mask.shape[0], mask.shape[1]))
        image_sizes.append((image.shape[1], image.shape[2]))
        read = split.read_shares
        shares.append(_class_shares(mask, split.spec.num_classes) if read is None else read(identifier))
        if len(pixels[0]) == 0:
            void_images.append(identifier)
    rows, columns, labels = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    return ProbeSet(
        rows=rows,
        columns=columns,
        labels=labels,
        starts=tuple(starts),
        sizes=tuple(sizes),
        void_images=tuple(void_images),
        class_shares=torch.stack(shares),
        content=content.hexdigest(),
        image_sizes=() if image_sizes == sizes else tuple(image_sizes),
        numbers=torch.cat(numbers) if numbers else None,
    )


def _class_shares(mask: Integer[Tensor, "h w"], num_classes: int) -> Float64[Tensor, " classes"]:
    counts = torch.bincount(mask.flatten(), minlength=num_classes)[:num_classes].double()
    return counts / counts.sum().clamp(min=1)


def _class_weights(split: Split) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """What each mask value weighs: the inverse frequency of its class, 0 for void."""
    name = split.spec.name
    if len(split) == 0:
        raise SelectionError(f"Dataset {name!r} has no training {split.spec.holds} to draw a probe set from.")
    counts = class_pixel_counts(split, split.spec.num_classes).numpy()
    if counts.sum() == 0:
        raise SelectionError(
            f"All {len(split)} training {split.spec.holds} used of dataset {name!r} are void: there is no label to "
            f"compare predictions with. Use more of them, or check its masks ({VOID} means void)."
        )
    weights = np.zeros(max(VOID + 1, len(counts)))  # a truth of more than 8 bits has no void, and classes beyond
    weights[: len(counts)] = np.divide(1.0, counts, out=np.zeros(len(counts)), where=counts > 0)
    return weights


def _draw_pixels(
    mask: Integer[Tensor, "h w"],
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
    count: int,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, columns and labels of the drawn pixels, all empty if there is none to draw."""
    flat = mask.numpy().ravel()
    if not is_of_pixels(mask):  # of the whole image: each of its classes once
        places = np.arange(count)
        return torch.from_numpy(places), torch.zeros(count, dtype=torch.int64), torch.from_numpy(flat[:count])
    cumulative = np.cumsum(weights[flat])
    total = cumulative[-1] if len(cumulative) else 0.0
    if total == 0:
        none = torch.empty(0, dtype=torch.int64)
        return none, none, none
    # A void pixel adds nothing, so "the first with more than" never is one. The last labelled pixel takes the draw that
    # rounding pushed up to the total.
    last = int(np.searchsorted(cumulative, total, side="left"))
    places = np.minimum(np.searchsorted(cumulative, generator.random(count) * total, side="right"), last)
    rows, columns = np.divmod(places, mask.shape[1])
    return torch.from_numpy(rows), torch.from_numpy(columns), torch.from_numpy(flat[places].astype(np.int64))
