"""Which stored channels become red, green and blue, where the images of a split were taken by another camera.

ISPRS has images of red, green and blue for one city, and of infrared, red and green for the other: what both have is
red and green. ``channels: "2 3 2+3"`` of a split takes the second and the third, and the mean of both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from muster.data.sample_reader import FileImages
from muster.data.spec import RGB, DatasetSpec
from muster.data.windows import Window
from muster.errors import DatasetError

Mix: TypeAlias = tuple[tuple[int, ...], ...]
"""For red, green and blue: which stored channels they are the mean of, counted from 0."""

_MIX = re.compile(r"[1-3](\+[1-3])*( [1-3](\+[1-3])*){2}")


def parse_mix(path: Path, split: str, text: str) -> Mix:
    """Read the key ``channels`` of a split.

    Args:
        path: The description, for messages.
        split: ``train`` or ``test``.
        text: Three channels, counted from 1, with spaces between; ``1+2`` is the mean of two.

    Returns:
        What they are made of.

    Raises:
        DatasetError: If it is no such text.
    """
    if not _MIX.fullmatch(text):
        raise DatasetError(
            f"{path}: key 'splits.{split}.channels': expected three of the stored channels 1, 2 and 3, or means of "
            f"some, such as '2 3 2+3', but got {text!r}."
        )
    return tuple(tuple(int(number) - 1 for number in part.split("+")) for part in text.split())


class MixedImages(FileImages):
    """Images whose channels are not read in their own order."""

    def __init__(self, spec: DatasetSpec, files: Mapping[str, Path], mix: Mix) -> None:
        """Remember where they lie.

        Args:
            spec: Their dataset.
            files: Identifier -> image.
            mix: What the three channels are made of.

        Raises:
            DatasetError: If the images of the dataset are not RGB.
        """
        if spec.channels != RGB:
            raise DatasetError(
                f"Dataset {spec.name!r}: channels of a split need images of three channels, but it has {spec.channels}."
            )
        super().__init__(spec, files)
        self.mix = mix

    def read(self, identifier: str, as_stored: bool) -> Tensor:
        """See :class:`muster.data.sample_reader.ImageSource`; means are rounded down."""
        return self._mixed(super().read(identifier, as_stored))

    def read_part(self, identifier: str, window: Window) -> Tensor:
        """See :class:`muster.data.sample_reader.FileImages`."""
        return self._mixed(super().read_part(identifier, window))

    def _mixed(self, image: Tensor) -> Tensor:
        made = [image[list(numbers)].sum(dim=0, dtype=torch.int32) // len(numbers) for numbers in self.mix]
        return torch.stack(made).to(torch.uint8)
