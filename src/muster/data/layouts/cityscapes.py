"""Cityscapes: images and masks by city, in folders of their own.

::

    cityscapes/
      leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png
      gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png        35 ids, of which 19 are classes
      gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png    (by its scripts: read if ids are missing)
      leftImg8bit/val/..., gtFine/val/...                                  the test split: those of test/ are not public

``splits`` in ``dataset.yaml`` may name other patterns, ``mask_values`` other classes by the same ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muster.data.layout import LAYOUTS
from muster.data.paired_layout import PairedLayout, Plan

CLASSES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26, "truck": 27,
    "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
"""Id of each class that is evaluated, in the order of the "train ids".

Source: Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016, and its label table.
"""

_IDS = 34


class Cityscapes(PairedLayout):
    """The fine annotations."""

    title = "A dataset in the layout of Cityscapes"

    def recognises(self, folder: Path) -> bool:
        """By its two folders."""
        return (folder / "leftImg8bit").is_dir() and (folder / "gtFine").is_dir()

    def plan(self, root: Path) -> Plan:
        """See :meth:`PairedLayout.plan`."""
        by_id = any((root / "gtFine/train").glob("*/*_gtFine_labelIds.png"))
        by_train_id = any((root / "gtFine/train").glob("*/*_gtFine_labelTrainIds.png"))
        masks = "labelTrainIds" if by_train_id and not by_id else "labelIds"
        splits = {
            name: {
                "images": f"leftImg8bit/{split}/*/*_leftImg8bit.png",
                "masks": f"gtFine/{split}/*/*_gtFine_{masks}.png",
            }
            for name, split in (("train", "train"), ("test", "val"))
        }
        known: dict[str, Any] = {"domain": "driving", "classes": list(CLASSES)}
        if masks == "labelIds":
            known["mask_values"] = dict.fromkeys((*range(_IDS), 255)) | {
                number: name for name, number in CLASSES.items()
            }
        return Plan(known, splits)


LAYOUTS.add("cityscapes", Cityscapes())
