"""COCO's annotations of objects, drawn into masks of classes.

::

    coco/
      annotations/instances_train2017.json
      annotations/instances_val2017.json       the test split; a single file is divided
      train2017/000000000009.jpg               (or images/train2017/, or images/)
      val2017/...

Pixels of no object are the class ``background`` (``background: void`` makes them void). Where objects overlap, the
smaller lies on top; ``overlap: void`` makes pixels void that objects of different classes claim. Regions of many
objects (``iscrowd``) lie below all others and have their class; with ``crowd: void`` they are void.

Axis names: ``h`` and ``w`` are the rows and columns of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from muster.data.coco import CROWD, CocoDataset, category_of, class_indices, is_found
from muster.data.dataset_yaml import IMAGE_KEYS, Heading
from muster.data.images import StoredMask
from muster.data.layout import LAYOUTS, Layout
from muster.data.mask_values import VOID_WORD
from muster.data.orientation import Pixels
from muster.data.sample_reader import MaskSource
from muster.data.spec import VOID, Dataset
from muster.errors import DatasetError
from muster.extras import needs_extra

KIND = "instances"
OVERLAP = ("smaller", "void")
"""What ``overlap`` may say, the default first."""

_NOBODY = -1
_KEYS = (*IMAGE_KEYS, "splits", "orientation", "background", "crowd", "overlap")


class CocoInstances(Layout):
    """COCO, and what many labelling tools export in its form."""

    def recognises(self, folder: Path) -> bool:
        """By a file of annotations."""
        return is_found(folder, KIND)

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`."""
        needs_extra("pycocotools.mask", "coco", "COCO's objects are drawn by pycocotools", DatasetError)
        found = CocoDataset(heading, KIND, _KEYS, background=True)
        crowd, overlap = found.option("crowd", CROWD), found.option("overlap", OVERLAP)
        classes = found.description.spec.classes
        below = classes.index(found.background) if found.background in classes else VOID
        masks = {}
        for split, labelled in found.annotations.items():
            indices = class_indices(found.description, labelled)
            objects = {name: labelled.by_image[entry["id"]] for name, entry in labelled.images.items()}
            sizes = {name: (entry.get("height"), entry.get("width")) for name, entry in labelled.images.items()}
            masks[split] = DrawnMasks(labelled.path, objects, sizes, indices, below, crowd, overlap)
        return found.opened(masks, reference)


class DrawnMasks(MaskSource):
    """Masks that are drawn when they are asked for."""

    def __init__(
        self,
        path: Path,
        objects: Mapping[str, Any],
        sizes: Mapping[str, tuple[Any, Any]],
        indices: Mapping[int, int],
        background: int,
        crowd: str,
        overlap: str,
    ) -> None:
        """Remember what to draw.

        Args:
            path: File of the annotations, for messages.
            objects: Annotations of each image.
            sizes: Rows and columns of each image.
            indices: Class index of each category.
            background: What pixels of no object are.
            crowd: One of :data:`muster.data.coco.CROWD`.
            overlap: One of :data:`OVERLAP`.
        """
        self.path, self.objects, self.sizes, self.indices = path, objects, sizes, indices
        self.background, self.crowd, self.overlap = background, crowd, overlap

    def called(self, identifier: str) -> str:
        """See :class:`MaskSource`."""
        return f"image {identifier!r} in {self.path}"

    def read(self, identifier: str) -> StoredMask:
        """See :class:`MaskSource`."""
        size = self.sizes[identifier]
        if not all(isinstance(side, int) and side > 0 for side in size):
            raise DatasetError(f"{self.path}: image {identifier!r} has no height and width.")
        drawn = np.full(size, self.background, np.uint8)
        owner = np.full(size, _NOBODY, np.int16)
        disputed = np.zeros(size, bool)
        for each in sorted(self.objects[identifier], key=_drawing_order):
            where = f"Annotation {each.get('id')} of image {identifier!r} in {self.path}"
            index, inside = category_of(each, self.indices, where), _region(each, size, where)
            if each.get("iscrowd"):
                drawn[inside] = VOID if self.crowd == VOID_WORD else index
                continue
            disputed |= inside & (owner != _NOBODY) & (owner != index)
            owner[inside] = drawn[inside] = index
        if self.overlap == VOID_WORD:
            drawn[disputed] = VOID
        return StoredMask(drawn, None)


def _drawing_order(annotation: Mapping[str, Any]) -> tuple[bool, float, int]:
    """Crowds first, then large before small; the identifier decides between equals."""
    return (not annotation.get("iscrowd"), -float(annotation.get("area") or 0.0), int(annotation.get("id") or 0))


def _region(annotation: Mapping[str, Any], size: tuple[int, int], where: str) -> Pixels:
    """The pixels of an object, bool ``[h, w]``."""
    from pycocotools import mask as coco_mask

    shape = annotation.get("segmentation")
    if isinstance(shape, list) and shape and all(isinstance(part, list) for part in shape):
        if any(len(part) < 6 or len(part) % 2 for part in shape):
            raise DatasetError(f"{where} has a polygon of fewer than three points, or of half a point.")
        encoded = coco_mask.merge(coco_mask.frPyObjects(shape, *size))
    elif isinstance(shape, dict) and list(shape.get("size", ())) == list(size) and "counts" in shape:
        uncompressed = isinstance(shape["counts"], list)
        encoded = coco_mask.frPyObjects(shape, *size) if uncompressed else shape
    else:
        raise DatasetError(
            f"{where} has no outline of {size[1]} x {size[0]} pixels: expected polygons or a run-length code, but got "
            f"{str(shape)[:80]}. (Boxes alone say nothing of pixels.)"
        )
    region: Pixels = coco_mask.decode(encoded).astype(bool)
    return region


LAYOUTS.add("coco_instances", CocoInstances())
