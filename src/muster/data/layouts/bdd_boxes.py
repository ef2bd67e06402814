"""BDD100K's boxes: one list of images with labels for each split.

::

    bdd100k/
      images/100k/train/0000f77c-6257be58.jpg
      images/100k/val/...                          the test split
      labels/det_20/det_train.json
      labels/det_20/det_val.json

An entry is ``{"name": "0000f77c-6257be58.jpg", "labels": [{"category": "car", "box2d": {"x1": 45.2, "y1": 254.5, "x2":
357.8, "y2": 487.9}, "attributes": {"crowd": false}}]}``; other keys are passed over. Classes are those of the
benchmark; boxes of :data:`OTHERS` are left out, and crowds are neither learned nor scored.

Source: https://doc.bdd100k.com/format.html (looked up through the repository bdd100k/bdd100k, which has the same).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.data.boxes import CROWD
from muster.data.dataset_yaml import IMAGE_KEYS, Heading, read_description
from muster.data.json_files import read_json_list
from muster.data.layout import LAYOUTS, Layout
from muster.data.object_files import Annotated, dataset_of_objects
from muster.data.spec import Dataset
from muster.data.text_lists import require_images
from muster.errors import DatasetError, unknown_name

CLASSES = (
    "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle", "traffic light", "traffic sign",
)  # fmt: skip

OTHERS = frozenset({"other vehicle", "other person", "trailer"})
"""What has boxes and is none of the benchmark's classes."""

_LABELS, _IMAGES = "labels/det_20", "images/100k"
_SETS = {"train": "train", "test": "val"}  # labels of the test images are not public


class BddBoxes(Layout):
    """Labels of 2020, as the benchmark of detection has them."""

    def recognises(self, folder: Path) -> bool:
        """By the labels of the training images."""
        return (folder / _LABELS / "det_train.json").is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the names of the images."""
        description = read_description(
            heading, heading.unsaid | {"classes": list(CLASSES)}, None, IMAGE_KEYS, whole_images=True
        )
        if description.spec.classes != CLASSES:
            raise DatasetError(f"{description.path}: leave 'classes' out: they are those of BDD100K's benchmark.")
        splits = {}
        for split, name in _SETS.items():
            path = heading.root / _LABELS / f"det_{name}.json"
            entries = read_json_list(path)
            files = {str(each.get("name")): heading.root / _IMAGES / name / str(each.get("name")) for each in entries}
            require_images(files, f"the labels in {path}")
            splits[split] = {
                Path(str(each["name"])).stem: (files[str(each["name"])], _annotated(each, path)) for each in entries
            }
        return dataset_of_objects(description, splits, reference, task="detection")


def _annotated(entry: Mapping[str, Any], path: Path) -> Annotated:
    rows = []
    for label in entry.get("labels") or ():
        box, name = label.get("box2d"), label.get("category")
        if box is None:  # of another task
            continue
        try:
            corners = tuple(float(box[key]) for key in ("x1", "y1", "x2", "y2"))
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{path}: {entry['name']}: a box2d has no {error}; expected x1, y1, x2 and y2."
            ) from error
        if name not in CLASSES and name not in OTHERS:
            raise DatasetError(f"{path}: {entry['name']}: {unknown_name('category', str(name), CLASSES)}")
        if name in CLASSES:
            crowd = CROWD if (label.get("attributes") or {}).get("crowd") else 0
            rows.append((*corners, float(CLASSES.index(name)), float(crowd)))
    return Annotated(tuple(rows), None, str(path))


LAYOUTS.add("bdd_boxes", BddBoxes())
