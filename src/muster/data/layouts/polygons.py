"""Ground truth as polygons: one JSON file for each image, as the annotation tool of Cityscapes and IDD writes it.

::

    # dataset.yaml
    name: roads
    domain: driving
    classes: [road, car]
    reader: polygons
    labels: {parking: road, out of roi: void}     # what is no class by its own name
    background: void                              # pixels of no object: void (the default), or a class
    splits:
      train: {images: "leftImg8bit/train/*/*_leftImg8bit", masks: "gtFine/train/*/*_gtFine_polygons.json"}
      test: {images: "leftImg8bit/val/*/*_leftImg8bit", masks: "gtFine/val/*/*_gtFine_polygons.json"}

A file has ``imgHeight``, ``imgWidth`` and ``objects``, each with a ``label`` and a ``polygon`` of ``[column, row]``.
Later objects lie on top of earlier ones; those that are marked as ``deleted`` are left out. A label such as
``cargroup`` that is not known by itself means what stands before ``group``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from muster.data.dataset_yaml import IMAGE_KEYS, Description
from muster.data.images import StoredMask
from muster.data.json_files import read_json
from muster.data.label_names import indices_of_labels
from muster.data.layout import LAYOUTS
from muster.data.mask_values import VOID_WORD
from muster.data.paired_layout import PairedLayout, Plan
from muster.data.sample_reader import MaskReader, MaskSource
from muster.data.spec import VOID
from muster.errors import DatasetError, unknown_name

_GROUP = "group"


class Polygons(PairedLayout):
    """Patterns that lead to polygons."""

    title = "The reader 'polygons'"
    is_general = True
    keys = (*IMAGE_KEYS, "splits", "orientation", "labels", "background")

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002
        """Never: only a description can name it."""
        return False

    def plan(self, root: Path) -> Plan:  # noqa: ARG002
        """See :meth:`PairedLayout.plan`: nothing is known."""
        return Plan({})

    def mask_reader(self, description: Description) -> MaskReader:
        """See :meth:`PairedLayout.mask_reader`."""
        indices, below = indices_of_labels(description), _background(description)
        return lambda _, files, __: PolygonMasks(files, indices, below)


def _background(description: Description) -> int:
    name, classes = description.options.get("background", VOID_WORD), description.spec.classes
    if name != VOID_WORD and name not in classes:
        told = unknown_name("class", str(name), (*classes, VOID_WORD))
        raise DatasetError(f"{description.path}: key 'background': {told}")
    return VOID if name == VOID_WORD else classes.index(name)


class PolygonMasks(MaskSource):
    """Masks that are drawn when they are asked for."""

    def __init__(self, files: Mapping[str, Path], indices: Mapping[str, int], background: int) -> None:
        """Remember where the polygons are.

        Args:
            files: Identifier -> file.
            indices: Class index, or void, of each label.
            background: Of pixels of no object.
        """
        self.files, self.indices, self.background = files, indices, background

    def called(self, identifier: str) -> str:
        """See :class:`MaskSource`."""
        return str(self.files[identifier])

    def read(self, identifier: str) -> StoredMask:
        """See :class:`MaskSource`."""
        path = self.files[identifier]
        content = read_json(path)
        try:
            canvas = Image.new("L", (int(content["imgWidth"]), int(content["imgHeight"])), self.background)
            drawer = ImageDraw.Draw(canvas)
            for each in content["objects"]:
                if not each.get("deleted"):
                    self._draw(drawer, path, str(each["label"]), each["polygon"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(
                f"{path}: expected imgWidth, imgHeight and objects, each with a label and a polygon of [column, row], "
                f"but it lacks {error}, or has something else there."
            ) from error
        return StoredMask(np.array(canvas), None)

    def _draw(self, drawer: ImageDraw.ImageDraw, path: Path, label: str, polygon: Any) -> None:
        name = label if label in self.indices else label.removesuffix(_GROUP)
        if name not in self.indices:
            raise DatasetError(
                f"{path} holds the label {label!r}, which is no class of the dataset. Name it in dataset.yaml, as a "
                f"class or as {VOID_WORD}: 'labels: {{{label}: {VOID_WORD}}}'."
            )
        points = [(float(column), float(row)) for column, row in polygon]
        if len(points) > 1:  # a stray click marks no area
            drawer.polygon(points, fill=self.indices[name])


LAYOUTS.add("polygons", Polygons())
