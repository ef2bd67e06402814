"""COCO's annotations of objects as boxes with classes.

::

    coco/
      annotations/instances_train2017.json
      annotations/instances_val2017.json       the test split; a single file is divided
      train2017/000000000009.jpg               (or images/train2017/, or images/)
      val2017/...

Such a folder is taken for one of masks (:mod:`muster.data.layouts.coco_instances`) unless ``reader: coco_boxes`` in
``dataset.yaml``, or ``FOLDER:coco_detection``, says otherwise. A box of a crowd (``iscrowd``) is neither learned nor
scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.data.boxes import CROWD
from muster.data.coco import CocoDataset, category_of, class_indices
from muster.data.dataset_yaml import IMAGE_KEYS, Heading
from muster.data.layout import LAYOUTS, Layout
from muster.data.object_files import Annotated, dataset_of_objects
from muster.data.spec import VOID, Dataset
from muster.errors import DatasetError

_KEYS = (*IMAGE_KEYS, "splits")


class CocoBoxes(Layout):
    """COCO's boxes; a description has to name it."""

    is_general = True

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002
        """Never by its looks, which are those of masks."""
        return False

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`."""
        found = CocoDataset(heading, "instances", _KEYS, background=False)
        splits = {}
        for split, (files, labelled) in found.files().items():
            indices, path = class_indices(found.description, labelled), labelled.path
            splits[split] = {
                name: (file, _annotated(labelled.images[name], labelled.by_image, indices, path))
                for name, file in files.items()
            }
        return dataset_of_objects(found.description, splits, reference, task="detection")


def _annotated(
    entry: Mapping[str, Any], by_image: Mapping[int, Any], indices: Mapping[int, int], path: Path
) -> Annotated:
    objects = []
    for each in by_image[entry["id"]]:
        where = f"Annotation {each.get('id')} of image {entry['file_name']} in {path}"
        label = category_of(each, indices, where)
        if label != VOID:
            objects.append((*corners(each, where), float(label), float(CROWD if each.get("iscrowd") else 0)))
    return Annotated(tuple(objects), size_of(entry), str(path))


def size_of(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    """Rows and columns of an image, if its entry says them."""
    sides = entry.get("height"), entry.get("width")
    return (int(sides[0]), int(sides[1])) if isinstance(sides[0], int) and isinstance(sides[1], int) else None


def corners(annotation: Mapping[str, Any], where: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of an object.

    Args:
        annotation: It.
        where: What messages call it.

    Raises:
        DatasetError: If it has no box.
    """
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
        raise DatasetError(f"{where}: expected bbox with left, top, width and height, but got {str(box)[:80]}.")
    left, top, width, height = map(float, box)
    return left, top, left + width, top + height


LAYOUTS.add("coco_boxes", CocoBoxes())
