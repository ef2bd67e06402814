"""COCO's panoptic annotations: PNG files of segments whose classes a JSON file names.

::

    coco/
      annotations/panoptic_train2017.json
      annotations/panoptic_train2017/000000000009.png      colour = id of the segment, black = void
      annotations/panoptic_val2017.json, .../              the test split; a single file is divided
      train2017/000000000009.jpg                           (or images/train2017/, or images/)

With ``crowd: void`` regions of many objects (``iscrowd``) are void.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from muster.data.coco import CROWD, Annotations, CocoDataset, category_of, class_indices, is_found
from muster.data.dataset_yaml import IMAGE_KEYS, Heading
from muster.data.images import StoredMask, read_stored_mask
from muster.data.layout import LAYOUTS, Layout
from muster.data.mask_values import VOID_WORD, look_up
from muster.data.sample_reader import MaskSource
from muster.data.spec import VOID, Dataset
from muster.errors import DatasetError

KIND = "panoptic"
_KEYS = (*IMAGE_KEYS, "splits", "orientation", "crowd")
_SHOWN = 5


class CocoPanoptic(Layout):
    """COCO panoptic, and others in its form."""

    def recognises(self, folder: Path) -> bool:
        """By a file of annotations."""
        return is_found(folder, KIND)

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`."""
        found = CocoDataset(heading, KIND, _KEYS, background=False)
        crowd = found.option("crowd", CROWD)
        description, masks = found.description, {}
        for split, labelled in found.annotations.items():
            said = description.splits.get(split, {}).get("masks")
            place = description.root / said if said else labelled.path.with_suffix("")
            if not place.is_dir():
                raise DatasetError(
                    f"Dataset {description.spec.name!r}: expected the PNG files of {labelled.path.name} in {place}, "
                    "but there is no such folder. Name it in dataset.yaml: 'splits: {train: {annotations: FILE, masks: "
                    "FOLDER}, test: ...}'."
                )
            masks[split] = SegmentMasks(place, labelled, class_indices(description, labelled), crowd)
        return found.opened(masks, reference)


class SegmentMasks(MaskSource):
    """Masks in which a colour is the number of a segment."""

    def __init__(self, folder: Path, annotations: Annotations, indices: Mapping[int, int], crowd: str) -> None:
        """Remember which segments there are.

        Args:
            folder: Where the PNG files lie.
            annotations: Name the segments.
            indices: Class index of each category.
            crowd: One of :data:`muster.data.coco.CROWD`.

        Raises:
            DatasetError: If an image has no annotation, or several.
        """
        self.folder, self.path, self.indices, self.crowd = folder, annotations.path, indices, crowd
        self.annotated: dict[str, Mapping[str, Any]] = {}
        for name, entry in annotations.images.items():
            found = annotations.by_image[entry["id"]]
            if len(found) != 1:
                raise DatasetError(
                    f"{self.path}: expected one annotation of image {name!r}, but there are {len(found)}."
                )
            self.annotated[name] = found[0]

    def called(self, identifier: str) -> str:
        """See :class:`MaskSource`."""
        return str(self.folder / str(self.annotated[identifier].get("file_name")))

    def read(self, identifier: str) -> StoredMask:
        """See :class:`MaskSource`."""
        path = Path(self.called(identifier))
        stored = read_stored_mask(path, colours=True)
        red, green, blue = stored.values.astype(np.int32).transpose(2, 0, 1)
        indices, unnamed = look_up(red + 256 * green + 65536 * blue, {0: VOID} | self._segments(identifier))
        if unnamed.size:
            strange = np.unique(unnamed).tolist()
            shown = ", ".join(map(str, strange[:_SHOWN])) + (", ..." if len(strange) > _SHOWN else "")
            raise DatasetError(f"Mask {path} holds the segment(s) {shown}, but {self.path} does not name them.")
        return StoredMask(indices, stored.tag)

    def _segments(self, identifier: str) -> dict[int, int]:
        segments = self.annotated[identifier].get("segments_info", ())
        where = f"A segment of image {identifier!r} in {self.path}"
        found = {int(each["id"]): category_of(each, self.indices, where) for each in segments}
        if self.crowd == VOID_WORD:
            found |= {int(each["id"]): VOID for each in segments if each.get("iscrowd")}
        return found


LAYOUTS.add("coco_panoptic", CocoPanoptic())
