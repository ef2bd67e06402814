"""Folders of images beside folders of masks in colours, with a file that says which colour is which class.

::

    camvid/
      class_dict.csv                       name,r,g,b (other forms: see muster.data.colour_map)
      train/0001.png
      train_labels/0001_L.png              the same name, with or without something after it
      val/..., val_labels/...              the test split if there is no test_labels/
      test/..., test_labels/...

Elsewhere the key ``colour_map`` of ``dataset.yaml`` names such a file, whatever the layout.
"""

from __future__ import annotations

from pathlib import Path

from muster.data.colour_map import classes_of_colours, read_colour_map
from muster.data.layout import LAYOUTS
from muster.data.paired_layout import PairedLayout, Plan
from muster.errors import DatasetError

COLOUR_MAPS = ("class_dict.csv", "label_colors.txt", "labelmap.txt", "colour_map.txt", "color_map.txt")
"""Names of such files, of which the first that is there counts."""

_ENDINGS = ("_labels", "_L", "_mask", "_label", "")


class ColourCoded(PairedLayout):
    """As CamVid and DeepGlobe are often passed on."""

    title = "A dataset of colour-coded masks"

    def recognises(self, folder: Path) -> bool:
        """By the file of colours beside ``train/`` and ``train_labels/``."""
        parts = (folder / "train", folder / "train_labels")
        return _colour_map(folder) is not None and all(part.is_dir() for part in parts)

    def plan(self, root: Path) -> Plan:
        """See :meth:`PairedLayout.plan`."""
        path = _colour_map(root)
        if path is None:
            raise DatasetError(
                f"Expected a file with the colours of the classes in {root}: one of {', '.join(COLOUR_MAPS)}. With "
                "'reader: patterns', colour_map in dataset.yaml names any other."
            )
        splits = {"train": _parts(root, "train")}
        test = next((name for name in ("test", "val") if (root / f"{name}_labels").is_dir()), None)
        if test is not None:
            splits["test"] = _parts(root, test)
        return Plan(classes_of_colours(read_colour_map(path)), splits, path)


def _colour_map(root: Path) -> Path | None:
    return next((root / name for name in COLOUR_MAPS if (root / name).is_file()), None)


def _parts(root: Path, split: str) -> dict[str, str]:
    """Patterns of a split: what follows the name of the image in that of its mask is seen from one of them."""
    images = sorted((entry.stem for entry in (root / split).glob("[!.]*.*")), key=len)
    names = {entry.stem for entry in (root / f"{split}_labels").glob("[!.]*.*")}
    ending = next((end for end in _ENDINGS if images and images[0] + end in names), "")
    return {"images": f"{split}/*", "masks": f"{split}_labels/*{ending}"}


LAYOUTS.add("colour_coded", ColourCoded())
