"""nnU-Net's layout of raw datasets, with images of two dimensions.

::

    Dataset001_cells/
      dataset.json                    channel_names, labels, file_ending
      imagesTr/cell_001_0000.png      one file with all channels, or one file for each: _0000, _0001, ...
      labelsTr/cell_001.png
      imagesTs/..., labelsTs/...      (the test split, if labels are there)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.data.json_files import read_json
from muster.data.layout import LAYOUTS
from muster.data.paired_layout import PairedLayout, Plan
from muster.data.sample_reader import FIRST_CHANNEL, ChannelFiles
from muster.errors import DatasetError

DESCRIPTION = "dataset.json"
IGNORE = "ignore"
"""The label that nnU-Net does not learn."""

ENDINGS = (".png", ".tif", ".tiff", ".bmp")


class NnUnet(PairedLayout):
    """Raw data of nnU-Net, version 2."""

    title = "A dataset in the layout of nnU-Net"

    def recognises(self, folder: Path) -> bool:
        """By its description and its two folders for training."""
        parts = (folder / "imagesTr", folder / "labelsTr")
        return (folder / DESCRIPTION).is_file() and all(part.is_dir() for part in parts)

    def plan(self, root: Path) -> Plan:
        """See :meth:`PairedLayout.plan`."""
        path = root / DESCRIPTION
        content = _read(path)
        ending = content.get("file_ending")
        if ending not in ENDINGS:
            raise DatasetError(
                f"{path}: file_ending is {ending!r}, but only images of two dimensions are read here: "
                f"{', '.join(ENDINGS)}. Export slices of volumes as images."
            )
        splits = {"train": _parts("Tr", ending)}
        if (root / "labelsTs").is_dir():
            splits["test"] = _parts("Ts", ending)
        known = _labels(path, content)
        if any((root / "imagesTr").glob(f"*_0001{ending}")):
            return Plan(known | {"channels": _channels(path, content)}, splits, path, image_reader=ChannelFiles)
        return Plan(known, splits, path)


def _channels(path: Path, content: Mapping[str, Any]) -> int:
    """How many files there are of each image."""
    names = content.get("channel_names")
    if not isinstance(names, dict) or sorted(names) != sorted(map(str, range(len(names)))):
        raise DatasetError(
            f"{path}: key 'channel_names': images are in several files (_0000, _0001, ...), so expected a name for "
            f'each number of a channel, such as {{"0": "red", "1": "infrared"}}, but got {names}.'
        )
    return len(names)


def _parts(split: str, ending: str) -> dict[str, str]:
    return {"images": f"images{split}/*{FIRST_CHANNEL}{ending}", "masks": f"labels{split}/*{ending}"}


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content.get("labels"), dict) or not content["labels"]:
        raise DatasetError(f"{path}: expected the key 'labels' with the number of each class.")
    return content


def _labels(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    labels = content["labels"]
    if not all(isinstance(number, int) for number in labels.values()):
        raise DatasetError(
            f"{path}: key 'labels': expected one number for each name, but got {labels}. Regions made of several "
            "labels, and descriptions of nnU-Net 1, where numbers come first, are not read."
        )
    ordered = sorted(labels.items(), key=lambda item: item[1])
    classes = [name for name, _ in ordered if name != IGNORE]
    values = {number: None if name == IGNORE else name for name, number in ordered}
    if len(values) < len(labels):
        raise DatasetError(f"{path}: key 'labels': two names have the same number: {labels}.")
    return {"classes": classes, "mask_values": values}


LAYOUTS.add("nnunet", NnUnet())
