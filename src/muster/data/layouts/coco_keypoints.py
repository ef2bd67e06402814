"""COCO's annotations of persons with keypoints, and of other objects in the same form.

::

    coco/
      annotations/person_keypoints_train2017.json
      annotations/person_keypoints_val2017.json       the test split; a single file is divided
      train2017/000000000009.jpg                      (or images/train2017/, or images/)
      val2017/...

The classes are the names of the points; there is one category of objects. Crowds, and objects without a labelled point,
are neither learned nor scored. A folder that has ``instances_*.json`` too is taken for one of masks unless ``reader:
coco_keypoints`` in ``dataset.yaml``, or ``FOLDER:coco_keypoints``, says otherwise.

Source: the tolerances are those of COCO's own evaluation (pycocotools, ``Params.setKpParams``); points of other names
have the mean of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muster.data.boxes import CROWD, PASSED_OVER, words_of
from muster.data.coco import Annotations, CocoDataset, is_found
from muster.data.dataset_yaml import IMAGE_KEYS, Heading
from muster.data.layout import LAYOUTS, Layout
from muster.data.layouts.coco_boxes import corners, size_of
from muster.data.object_files import Annotated, dataset_of_objects
from muster.data.spec import Dataset
from muster.errors import DatasetError

KIND = "person_keypoints"

TOLERANCES: Mapping[str, float] = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107,
    "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
"""COCO's constants, by the last word of a point's name."""

OTHER_TOLERANCE = 0.065


def tolerances_of(names: Sequence[str]) -> tuple[float, ...]:
    """COCO's constants of points by their names."""
    return tuple(TOLERANCES.get(words_of(name)[-1], OTHER_TOLERANCE) for name in names)


class CocoKeypoints(Layout):
    """COCO's persons."""

    def recognises(self, folder: Path) -> bool:
        """By a file of annotations, if there are none of masks beside it."""
        return is_found(folder, KIND) and not is_found(folder, "instances") and not is_found(folder, "panoptic")

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`."""
        found = CocoDataset(heading, KIND, (*IMAGE_KEYS, "splits"), background=False, classes=_points_of)
        classes = found.description.spec.classes
        splits = {}
        for split, (files, labelled) in found.files().items():
            if (named := _points_of(labelled)) != classes:
                raise DatasetError(
                    f"{labelled.path}: expected objects with the points {', '.join(classes)}, but got "
                    f"{', '.join(named)}. (Leave 'classes' out of dataset.yaml: the annotations say them.)"
                )
            splits[split] = {
                name: (file, _annotated(labelled.images[name], labelled, len(classes))) for name, file in files.items()
            }
        return dataset_of_objects(found.description, splits, reference, tolerances_of(classes), task="keypoints")


def _points_of(labelled: Annotations) -> tuple[str, ...]:
    named = {number: names for number, names in labelled.points.items() if names}
    if len(named) != 1:
        raise DatasetError(
            f"{labelled.path}: expected one category with 'keypoints', the names of its points, but got {len(named)}."
        )
    return next(iter(named.values()))


def _annotated(entry: Mapping[str, Any], labelled: Annotations, count: int) -> Annotated:
    rows = []
    for each in labelled.by_image[entry["id"]]:
        where = f"Annotation {each.get('id')} of image {entry['file_name']} in {labelled.path}"
        points = each.get("keypoints") or [0] * (3 * count)
        if len(points) != 3 * count:
            raise DatasetError(f"{where}: expected {3 * count} numbers in keypoints, but got {len(points)}.")
        box = corners(each, where)
        area = float(each.get("area") or (box[2] - box[0]) * (box[3] - box[1]))
        ignored = CROWD if each.get("iscrowd") else 0 if any(points[2::3]) else PASSED_OVER
        rows.append((*box, 0.0, float(ignored), area, *map(float, points)))
    return Annotated(tuple(rows), size_of(entry), str(labelled.path))


LAYOUTS.add("coco_keypoints", CocoKeypoints())
