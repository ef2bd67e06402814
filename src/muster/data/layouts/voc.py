"""Pascal VOC: images, palette masks, and lists of the images of each split.

::

    VOC2012/
      JPEGImages/2007_000032.jpg
      SegmentationClass/2007_000032.png        palette index = class, 255 = void
      ImageSets/Segmentation/train.txt         one name a line; val.txt is the test split
      labelmap.txt                             (CVAT's export: masks are read by its colours)

Without a ``labelmap.txt`` or ``classes`` in ``dataset.yaml`` the classes are those of the challenge.
"""

from __future__ import annotations

from pathlib import Path

from muster.data.colour_map import classes_of_colours, read_colour_map
from muster.data.layout import LAYOUTS
from muster.data.paired_layout import PairedLayout, Plan

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Source: Everingham et al., The Pascal Visual Object Classes Challenge, 2012, development kit, section 4.1."""

LABEL_MAP = "labelmap.txt"
_LISTS = "ImageSets/Segmentation"


class PascalVoc(PairedLayout):
    """The challenge's own folder, and what labelling tools export in its form."""

    title = "A dataset in the layout of Pascal VOC"

    def recognises(self, folder: Path) -> bool:
        """By its two folders."""
        return (folder / "JPEGImages").is_dir() and (folder / "SegmentationClass").is_dir()

    def plan(self, root: Path) -> Plan:
        """See :meth:`PairedLayout.plan`."""
        parts = {"images": "JPEGImages/*", "masks": "SegmentationClass/*"}
        splits = {
            "train": parts | {"list": f"{_LISTS}/train.txt"},
            "test": parts | {"list": f"{_LISTS}/val.txt"},
        }
        path = root / LABEL_MAP
        if path.is_file():
            return Plan(classes_of_colours(read_colour_map(path)), splits, path, partial=True)
        return Plan({"domain": "consumer photos", "classes": list(CLASSES)}, splits, partial=True)


LAYOUTS.add("voc", PascalVoc())
