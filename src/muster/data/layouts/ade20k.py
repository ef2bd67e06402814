"""ADE20K in the layout of the scene parsing benchmark: 150 classes from 1 on, 0 is everything else.

::

    ADEChallengeData2016/
      images/training/ADE_train_00000001.jpg
      annotations/training/ADE_train_00000001.png
      images/validation/..., annotations/validation/...      the test split
      objectInfo150.txt                                      names of the classes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muster.data.layout import LAYOUTS
from muster.data.paired_layout import PairedLayout, Plan
from muster.errors import DatasetError
from muster.user_files import open_regular

NAMES = "objectInfo150.txt"
PROBE_IMAGES = 1000
"""Source: A22 4.1 looks at 1000 images of ADE20K."""


class Ade20k(PairedLayout):
    """The benchmark of 2016."""

    title = "A dataset in the layout of ADE20K"

    def recognises(self, folder: Path) -> bool:
        """By its two folders for training."""
        return (folder / "images/training").is_dir() and (folder / "annotations/training").is_dir()

    def plan(self, root: Path) -> Plan:
        """See :meth:`PairedLayout.plan`."""
        path = root / NAMES
        known: dict[str, Any] = {
            "domain": "consumer photos",
            "reduce_zero_label": True,
            "probe_images": PROBE_IMAGES,
        }
        if path.is_file():
            known["classes"] = _names(path)
        splits = {
            name: {"images": f"images/{folder}/*", "masks": f"annotations/{folder}/*"}
            for name, folder in (("train", "training"), ("test", "validation"))
        }
        return Plan(known, splits, path)


def _names(path: Path) -> list[str]:
    """First name of each class: the last column of a table with the columns Idx, Ratio, Train, Val, Name."""
    try:
        with open_regular(path) as file:
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    rows = [line.split("\t") for line in lines if line.strip()]
    numbered = [row for row in rows if row[0].strip().isdigit()]
    if not numbered or [int(row[0]) for row in numbered] != list(range(1, len(numbered) + 1)):
        raise DatasetError(f"{path}: expected a table with tabs whose first column counts classes from 1.")
    names: list[str] = []
    for row in numbered:
        every = [name.strip() for name in row[-1].split(",")]
        # Two classes share their first name ("screen, ..." and others): the next that is free is taken then.
        names.append(next((name for name in every if name not in names), row[-1].strip()))
    return names


LAYOUTS.add("ade20k", Ade20k())
