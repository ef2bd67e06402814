"""Depth data in folders: images, and maps of depth with the same stem.

::

    mydata/                            or in one folder, as for images and masks:
      dataset.yaml                       images/a.jpg
      train/images/a.jpg                 depth/a.png
      train/depth/a.png                  splits.yaml      (optional)
      test/images/b.jpg
      test/depth/b.npy

A PNG holds whole numbers, and ``scale`` in ``dataset.yaml`` says how many are a metre (1000 for millimetres, 256 as in
KITTI, 100 for centimetres). An array of NumPy holds metres unless ``scale`` says otherwise. 0 means that the depth of a
pixel is not known; in arrays so do NaN and infinity.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

from muster.data.dataset_yaml import FILE_KEYS, IMAGE_KEYS, Description, Heading, read_description
from muster.data.depth_files import DEPTH_SUFFIXES, FileDepths
from muster.data.layout import LAYOUTS, Layout
from muster.data.layouts.images_and_masks import open_described
from muster.data.pairing import TruthFiles
from muster.data.sample_reader import MaskSource
from muster.data.spec import Dataset, DatasetSpec
from muster.data.yaml_checks import wrong

DEPTHS = TruthFiles("depth", DEPTH_SUFFIXES, "depth map", "PNG or NPY")

KEYS = (*IMAGE_KEYS, *FILE_KEYS, "orientation", "scale")
"""Keys of the description that have an effect here."""


class ImagesAndDepths(Layout):
    """Told by its folders."""

    def recognises(self, folder: Path) -> bool:
        """By a folder of images beside one of depth maps, for the whole or for the training split."""
        return any((root / "images").is_dir() and (root / "depth").is_dir() for root in (folder, folder / "train"))

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are stems, in the order of their code points."""
        description = read_description(heading, heading.unsaid, keys=KEYS, outputs=("depth",))
        description = replace(description, spec=replace(description.spec, task="depth"))
        return open_described(description, reference, partial(_depths, scale_of(description)), DEPTHS)


def _depths(scale: float | None, spec: DatasetSpec, files: dict[str, Path], values: object) -> MaskSource:  # noqa: ARG001
    return FileDepths(spec, files, scale)


def scale_of(description: Description) -> float | None:
    """How many stored units are a metre, if the description says it.

    Raises:
        DatasetError: If it is no positive number.
    """
    scale = description.options.get("scale")
    if scale is None:
        return None
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise wrong(description.path, "scale", "a positive number of units that are a metre, such as 1000", scale)
    return float(scale)


LAYOUTS.add("images_and_depths", ImagesAndDepths())
