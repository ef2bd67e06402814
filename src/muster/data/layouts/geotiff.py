"""Rasters with a place on earth: GeoTIFF images of many bands, and GeoTIFF masks; ``reader: geotiff`` names it.

::

    fields/
      dataset.yaml                     reader: geotiff; bands: [4, 3, 2] and value_range: [0, 10000] if they are needed
      train/images/a.tif               any number of bands, of 8 or 16 bits or floating point
      train/masks/a.tif                one band; pixels of its "nodata" value are void
      test/images/..., test/masks/...  (or images/ and masks/ alone, as in the project's own layout)

Without ``channels`` or ``bands`` all bands of the first image are read, and every image must have as many.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from muster.data.dataset_yaml import Heading, read_description
from muster.data.images import TIFF_SUFFIXES, StoredMask
from muster.data.layout import LAYOUTS, Layout
from muster.data.layouts.images_and_masks import KEYS, open_described
from muster.data.mask_values import HIGHEST
from muster.data.orientation import Pixels
from muster.data.rasters import open_tiff, rasterio_of
from muster.data.sample_reader import FileMasks, MaskSource
from muster.data.spec import VOID, Dataset
from muster.data.windows import Window
from muster.errors import DatasetError


class GeoTiff(Layout):
    """It is never guessed: a TIFF of three bands looks like a photograph."""

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`."""
        root = heading.root
        rasterio_of(f"The dataset in {root}")
        return open_described(read_description(heading, _known(root), keys=KEYS), reference, RasterMasks)


class RasterMasks(FileMasks):
    """Masks of one band whose "nodata" value is void."""

    def read(self, identifier: str) -> StoredMask:
        """See :class:`muster.data.sample_reader.MaskSource`."""
        path, what = self.files[identifier], f"Mask {self.files[identifier]} of dataset {self.spec.name!r}"
        with open_tiff(path, what) as source:
            if source.count != 1 or not np.issubdtype(source.dtypes[0], np.integer):
                raise DatasetError(
                    f"{what} has {source.count} band(s) of type {source.dtypes[0]}, but one band of whole numbers is "
                    "expected, which hold the index of the class of each pixel."
                )
            values, nodata = source.read(1), source.nodata
        empty = values == nodata if nodata is not None else np.zeros(values.shape, bool)
        known = np.where(empty, next(iter(self.values.meaning)), values)
        if known.min() < 0 or known.max() > HIGHEST:
            raise DatasetError(
                f"{what} holds values from {known.min()} to {known.max()}, but 0 to {HIGHEST} are possible."
            )
        indices = self.values.to_indices(known.astype(np.uint16), path, self.spec.name)
        return StoredMask(np.where(empty, VOID, indices).astype(np.uint8), None)

    def read_part(self, identifier: str, window: Window) -> tuple[Pixels, tuple[int, int]]:
        """See :class:`muster.data.sample_reader.MaskSource`."""
        return MaskSource.read_part(self, identifier, window)


def _known(root: Path) -> dict[str, Any]:
    """How many bands the first image has."""
    places = (root / "train" / "images", root / "images")
    files = (file for place in places for file in sorted(place.glob("[!.]*")) if file.suffix.lower() in TIFF_SUFFIXES)
    first = next(files, None)
    if first is None:
        return {}
    with open_tiff(first, f"Image {first}") as source:
        return {"channels": source.count}


LAYOUTS.add("geotiff", GeoTiff())
