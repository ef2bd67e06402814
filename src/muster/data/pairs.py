"""A dataset of images and masks that are at hand, without a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from muster.data.images import read_image, read_mask
from muster.data.spec import MAX_CLASSES, VOID, Dataset, DatasetSpec, Sample, Split
from muster.errors import DatasetError


def dataset_of_pairs(
    pairs: Sequence[Sequence[Any]], classes: Sequence[str] | int | None = None, name: str = "pairs"
) -> Dataset:
    """A dataset of pairs of an image and its mask.

    Args:
        pairs: Images are paths, PIL images, uint8 arrays ``[h, w, 3]`` or ``[h, w]``, or uint8 tensors ``[3, h, w]``;
            masks are paths, PIL images, or arrays or tensors ``[h, w]`` of class indices with 255 for void.
        classes: Names of the classes, or how many there are; by default as many as the largest index in the masks says.
        name: What to call it.

    Returns:
        The dataset; all pairs are training images, and there is no test image.

    Raises:
        DatasetError: If there are no pairs, one cannot be read, sizes differ, or a mask has an index that is no class.
    """
    if not pairs:
        raise DatasetError("Expected at least one pair of an image and its mask, but got none.")
    for place, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DatasetError(f"Expected pairs of an image and its mask, but number {place} is {pair!r:.80}.")
    names = _names(pairs, classes)
    spec = DatasetSpec(name, "", names)
    reader = _Reader(tuple(pairs), len(names))
    identifiers = tuple(str(place) for place in range(len(pairs)))
    return Dataset(spec, Split(spec, "train", identifiers, reader), Split(spec, "test", (), reader), name)


def _names(pairs: Sequence[Sequence[Any]], classes: Sequence[str] | int | None) -> tuple[str, ...]:
    if isinstance(classes, str):
        raise DatasetError(f"classes: expected a list of names, or how many there are, but got {classes!r}.")
    if classes is None:
        known = [mask[mask != VOID] for mask in (_mask(pair[1], place) for place, pair in enumerate(pairs))]
        classes = max((int(each.max()) for each in known if each.numel()), default=-1) + 1
    count = classes if isinstance(classes, int) else len(classes)
    if not 1 <= count <= MAX_CLASSES:
        raise DatasetError(f"classes: expected from 1 to {MAX_CLASSES}, but got {count}.")
    return tuple(f"class {index}" for index in range(count)) if isinstance(classes, int) else tuple(classes)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads one of the pairs."""

    pairs: tuple[Sequence[Any], ...]
    classes: int

    def __call__(self, identifier: str) -> Sample:
        place = int(identifier)
        image, mask = _image(self.pairs[place][0], place), _mask(self.pairs[place][1], place)
        if image.shape[1:] != mask.shape:
            raise DatasetError(
                f"Pair {place}: the image has {image.shape[1]} x {image.shape[2]} pixels (rows x columns), and its "
                f"mask {mask.shape[0]} x {mask.shape[1]}."
            )
        if wrong := sorted({int(value) for value in torch.unique(mask) if value >= self.classes and value != VOID}):
            raise DatasetError(
                f"Pair {place}: the mask holds {', '.join(map(str, wrong[:5]))}, but classes are 0 to "
                f"{self.classes - 1}, and {VOID} is void."
            )
        return Sample(identifier, image, mask.to(torch.uint8))


def _image(given: Any, place: int) -> Tensor:
    """Uint8 ``[3, h, w]``."""
    if isinstance(given, str | Path):
        return read_image(Path(given))
    if isinstance(given, Image.Image):
        given = np.asarray(given.convert("RGB"))
    image = given if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
    if image.ndim == 2:
        image = image.expand(3, *image.shape)
    elif image.ndim == 3 and not isinstance(given, Tensor):
        image = image.permute(2, 0, 1)
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise DatasetError(
            f"Pair {place}: expected an image as a path, a PIL image, a uint8 array [h, w, 3] or a uint8 tensor "
            f"[3, h, w], but got {tuple(given.shape)} of {given.dtype}."
        )
    return image.contiguous()


def _mask(given: Any, place: int) -> Tensor:
    """Integers ``[h, w]``."""
    if isinstance(given, str | Path):
        return read_mask(Path(given)).int()
    mask = given if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
    if mask.ndim != 2 or mask.is_floating_point() or mask.is_complex():
        raise DatasetError(
            f"Pair {place}: expected a mask as a path, a PIL image, or whole numbers [h, w], but got "
            f"{tuple(mask.shape)} of {mask.dtype}."
        )
    return mask.int()
