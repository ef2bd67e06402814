"""Large images as overlapping tiles: a cut that is made when a tile is read; no file is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from muster.data.content import prefix_of_text
from muster.data.orientation import UPRIGHT
from muster.data.sample_reader import FileImages, MaskSource, sizes_differ
from muster.data.spec import DatasetSpec, Sample, Split
from muster.data.splits import unknown_image
from muster.data.windows import Tiling, Window
from muster.errors import DatasetError

IMAGE_OF_TILE = r"(.*)/r\d+_c\d+"
"""What :attr:`muster.data.spec.DatasetSpec.sequences` says of tiles: those of one image belong together."""


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        image: Identifier of the image that it is cut from.
        size: Rows and columns of that image.
        window: Which part it is.
    """

    image: str
    size: tuple[int, int]
    window: Window


def split_of_tiles(
    spec: DatasetSpec, name: str, images: FileImages, masks: MaskSource, tiling: Tiling, cut_masks: bool = False
) -> Split:
    """The tiles of images; the files stay as they are.

    Args:
        spec: The dataset.
        name: ``"train"`` or ``"test"``.
        images: Whole images; of each the header is read.
        masks: Their masks.
        tiling: How they are cut.
        cut_masks: See :class:`muster.data.sample_reader.SampleReader`.

    Returns:
        A split of tiles, called ``IMAGE/r600_c1200`` by their first row and column. Whatever divides it further keeps
        the tiles of an image together.

    Raises:
        DatasetError: If an image cannot be opened, or is stored lying and turned by EXIF.
    """
    tiles: dict[str, Tile] = {}
    for image in images:
        header = images.header(image)
        if header.tag not in {None, UPRIGHT}:
            raise DatasetError(
                f"{images.called(image)} of dataset {spec.name!r} has an EXIF orientation ({header.tag}), and such "
                "images cannot be cut into tiles. Save it upright, or leave 'tiles' out of dataset.yaml."
            )
        for window in tiling.windows(*header.size):
            tiles[f"{image}/r{window.top}_c{window.left}"] = Tile(image, header.size, window)
    reader = TileReader(spec, images, masks, tiles, cut_masks)
    kept = spec if spec.sequences else replace(spec, sequences=IMAGE_OF_TILE)
    return Split(kept, name, tuple(tiles), reader, reader.mask, reader.content)


@dataclass(frozen=True, eq=False)
class TileReader:
    """Reads the tiles of one split.

    Attributes:
        spec: The dataset.
        images: Whole images.
        masks: Their masks.
        tiles: By their identifiers.
        cut_masks: See :class:`muster.data.sample_reader.SampleReader`.
    """

    spec: DatasetSpec
    images: FileImages
    masks: MaskSource
    tiles: Mapping[str, Tile]
    cut_masks: bool = False

    def __call__(self, identifier: str) -> Sample:
        """Read one tile.

        Args:
            identifier: Its name within the split.

        Returns:
            The tile, with its part of the mask.

        Raises:
            DatasetError: If there is none, its image or mask cannot be read, or these differ in size.
        """
        tile, mask = self._find(identifier), self.mask(identifier)
        return Sample(identifier, self.images.read_part(tile.image, tile.window), mask)

    def mask(self, identifier: str) -> Num[Tensor, "h w"]:
        """The mask of one tile alone; see :meth:`__call__`."""
        tile = self._find(identifier)
        values, size = self.masks.read_part(tile.image, tile.window)
        if size != tile.size and not (self.cut_masks and size[0] >= tile.size[0] and size[1] >= tile.size[1]):
            raise DatasetError(sizes_differ(self.spec, self.images, self.masks, tile.image, tile.size, size))
        return torch.from_numpy(np.array(values))

    def content(self, identifier: str) -> str:
        """The content prefix of one tile: of its image's file and of its place."""
        tile = self._find(identifier)
        return prefix_of_text(f"{self.images.content(tile.image)} {tuple(tile.window)}")

    def _find(self, identifier: str) -> Tile:
        if identifier not in self.tiles:
            raise DatasetError(f"Dataset {self.spec.name!r}: {unknown_image(identifier, self.tiles)}")
        return self.tiles[identifier]


def image_of_tile(identifier: str) -> str:
    """The image that a tile was cut from; an image that is no tile is its own."""
    found = re.fullmatch(IMAGE_OF_TILE, identifier)
    return found[1] if found else identifier


def whole_images(split: Split) -> int:
    """How many images a split has, where tiles of one image count once."""
    return len({image_of_tile(name) for name in split.identifiers})
