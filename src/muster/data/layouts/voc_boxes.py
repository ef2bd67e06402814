"""Pascal VOC, its detection task: a file of boxes for each image.

::

    VOC2007/
      JPEGImages/000005.jpg
      Annotations/000005.xml
      ImageSets/Main/trainval.txt      names of images, one a line
      ImageSets/Main/test.txt          (from the archive of the test images)

``trainval`` and ``test`` are the splits where there are lists of both, otherwise ``train`` and ``val`` (VOC2012);
``splits: {train: train, test: val}`` names others. Such a folder is taken for one of whole images, or of masks, unless
``reader: voc_boxes`` in ``dataset.yaml``, or ``FOLDER:voc2007_detection``, says otherwise. Objects marked as
difficult are neither learned nor scored.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2007, development kit, sections 2.2 and 4.1.
"""

from __future__ import annotations

from pathlib import Path

from muster.data.box_xml import read_boxes
from muster.data.dataset_yaml import IMAGE_KEYS, Heading, read_description
from muster.data.label_names import indices_of_labels
from muster.data.layout import LAYOUTS, Layout
from muster.data.object_files import dataset_of_objects
from muster.data.patterns import require_parts
from muster.data.spec import Dataset
from muster.data.text_lists import lines_of, require_images

LISTS, IMAGES, BOXES = "ImageSets/Main", "JPEGImages", "Annotations"


class VocBoxes(Layout):
    """Lists of images, and a file of boxes for each; a description has to name it."""

    is_general = True

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002
        """Never by its looks, which are those of other tasks too."""
        return False

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the names of the images."""
        root = heading.root
        found = {
            split: {name: read_boxes(root / BOXES / f"{name}.xml") for name in _names(root / LISTS / f"{list_}.txt")}
            for split, list_ in _lists(heading).items()
        }
        classes = sorted({each.name for boxes in found["train"].values() for each in boxes.objects})
        description = read_description(
            heading, heading.unsaid | {"classes": classes}, None, (*IMAGE_KEYS, "splits"), whole_images=True
        )
        indices = indices_of_labels(description)
        splits = {
            split: {name: (root / IMAGES / f"{name}.jpg", each.annotated(indices)) for name, each in images.items()}
            for split, images in found.items()
        }
        for images in splits.values():
            require_images({name: file for name, (file, _) in images.items()}, f"the lists in {root / LISTS}")
        return dataset_of_objects(description, splits, reference, task="detection")


def _lists(heading: Heading) -> dict[str, str]:
    said = {}
    for split, parts in heading.splits.items():
        require_parts(heading.path, split, {key or "set": part for key, part in parts.items()}, ("set",))
        said[split] = next(iter(parts.values()))
    whole = all((heading.root / LISTS / f"{name}.txt").is_file() for name in ("trainval", "test"))
    return {**({"train": "trainval", "test": "test"} if whole else {"train": "train", "test": "val"}), **said}


def _names(path: Path) -> list[str]:
    return [words[0] for _, words in lines_of(path, 1)]


LAYOUTS.add("voc_boxes", VocBoxes())
