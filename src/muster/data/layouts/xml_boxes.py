"""Boxes in XML files of Pascal VOC's form that lie beside their images, as many tools of annotation export them.

::

    # dataset.yaml
    name: mydata
    domain: underwater
    reader: xml_boxes
    classes: [plastic, fish]                       # by default the names in the training files, in alphabetical order
    labels: {platstic: plastic, unknown: void}     # what is no class by its own name
    splits: {train: data/train, test: data/test}   # by default train/, and test/, val/ or valid/

    mydata/
      data/train/a.jpg
      data/train/a.xml
      data/test/...

A file of boxes says that its image belongs to the dataset; images without one are passed over. Objects that mean void
are left out, and those that are marked as difficult are neither learned nor scored.
"""

from __future__ import annotations

from pathlib import Path

from muster.data.box_xml import BoxFile, read_boxes
from muster.data.dataset_yaml import IMAGE_KEYS, Heading, read_description
from muster.data.label_names import indices_of_labels
from muster.data.layout import LAYOUTS, Layout
from muster.data.object_files import dataset_of_objects
from muster.data.pairing import list_images
from muster.data.patterns import require_parts
from muster.data.spec import Dataset
from muster.errors import DatasetError

_SUFFIX = ".xml"
_DEFAULTS = {"train": ("train",), "test": ("test", "val", "valid")}


class XmlBoxes(Layout):
    """Images and their files of boxes in one folder a split; a description has to name it."""

    is_general = True

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002
        """Never: folders of images with other files beside them are many things."""
        return False

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the names of the images."""
        found = {split: _files(_folder(heading, split)) for split in _DEFAULTS}
        labels = heading.options.get("labels")
        named = {each.name for _, boxes in found["train"].values() for each in boxes.objects}
        named -= set(labels) if isinstance(labels, dict) else set()
        description = read_description(
            heading,
            heading.unsaid | {"classes": sorted(named)},
            None,
            (*IMAGE_KEYS, "splits", "labels"),
            whole_images=True,
        )
        indices = indices_of_labels(description)
        splits = {
            split: {name: (image, boxes.annotated(indices)) for name, (image, boxes) in files.items()}
            for split, files in found.items()
        }
        return dataset_of_objects(description, splits, reference, task="detection")


def _folder(heading: Heading, split: str) -> Path:
    said = heading.splits.get(split, {})
    require_parts(heading.path, split, {key or "folder": part for key, part in said.items()}, ("folder",))
    names = tuple(said.values()) or _DEFAULTS[split]
    there = [heading.root / name for name in names if (heading.root / name).is_dir()]
    if not there:
        told = " or ".join(f"{name}/" for name in names)
        raise DatasetError(
            f"{heading.root}: expected a folder {told} with images and their XML files. Name another in dataset.yaml: "
            f"'splits: {{{split}: FOLDER}}'."
        )
    return there[0]


def _files(folder: Path) -> dict[str, tuple[Path, BoxFile]]:
    """By the name of each image, its file and what its file of boxes says."""
    images, boxes = list_images(folder), list_images(folder, {_SUFFIX})
    if alone := [path.name for name, path in boxes.items() if name not in images]:
        raise DatasetError(
            f"{len(alone)} of the {len(boxes)} XML files in {folder} have no image of the same stem, e.g. {alone[0]}. "
            "Is the download complete?"
        )
    return {name: (images[name], read_boxes(path)) for name, path in boxes.items()}


LAYOUTS.add("xml_boxes", XmlBoxes())
