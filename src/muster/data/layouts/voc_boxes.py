"""Pascal VOC, its detection task: a file of boxes for each image.

::

    VOC2007/
      JPEGImages/000005.jpg
      Annotations/000005.xml
      ImageSets/Main/trainval.txt      names of images, one a line
      ImageSets/Main/test.txt          (from the archive of the test images)

``trainval`` and ``test`` are the splits where there are lists of both, otherwise ``train`` and ``val`` (VOC2012);
``splits: {train: train, test: val}`` names others. Such a folder is taken for one of whole images, or of masks, unless
``reader: voc_boxes`` in ``dataset.yaml``, or ``FOLDER:voc2007_detection``, says otherwise. Boxes are given by their
first and last pixel, counted from 1. Objects marked as difficult are neither learned nor scored.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2007, development kit, sections 2.2 and 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from muster.data.boxes import PASSED_OVER
from muster.data.dataset_yaml import IMAGE_KEYS, Heading, read_description
from muster.data.layout import LAYOUTS, Layout
from muster.data.object_files import Annotated, dataset_of_objects
from muster.data.patterns import require_parts
from muster.data.spec import Dataset
from muster.data.text_lists import lines_of, require_images
from muster.errors import DatasetError, unknown_name
from muster.user_files import open_regular

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
            split: {name: _read(root / BOXES / f"{name}.xml") for name in _names(root / LISTS / f"{list_}.txt")}
            for split, list_ in _lists(heading).items()
        }
        classes = sorted({each.name for boxes in found["train"].values() for each in boxes.objects})
        description = read_description(
            heading, heading.unsaid | {"classes": classes}, None, (*IMAGE_KEYS, "splits"), whole_images=True
        )
        known, ignored = description.spec.classes, description.ignored_classes
        splits = {
            split: {
                name: (root / IMAGES / f"{name}.jpg", each.annotated(known, ignored)) for name, each in images.items()
            }
            for split, images in found.items()
        }
        for images in splits.values():
            require_images({name: file for name, (file, _) in images.items()}, f"the lists in {root / LISTS}")
        return dataset_of_objects(description, splits, reference, task="detection")


@dataclass(frozen=True)
class _Box:
    name: str
    corners: tuple[float, float, float, float]
    is_difficult: bool


@dataclass(frozen=True)
class _Boxes:
    path: Path
    size: tuple[int, int]
    objects: tuple[_Box, ...]

    def annotated(self, classes: Sequence[str], ignored: Sequence[str]) -> Annotated:
        rows = []
        for each in self.objects:
            if each.name in ignored:
                continue
            if each.name not in classes:
                raise DatasetError(f"{self.path}: {unknown_name('class', each.name, classes)}")
            rows.append((*each.corners, float(classes.index(each.name)), float(PASSED_OVER * each.is_difficult)))
        return Annotated(tuple(rows), self.size, str(self.path))


def _lists(heading: Heading) -> dict[str, str]:
    said = {}
    for split, parts in heading.splits.items():
        require_parts(heading.path, split, {key or "set": part for key, part in parts.items()}, ("set",))
        said[split] = next(iter(parts.values()))
    whole = all((heading.root / LISTS / f"{name}.txt").is_file() for name in ("trainval", "test"))
    return {**({"train": "trainval", "test": "test"} if whole else {"train": "train", "test": "val"}), **said}


def _names(path: Path) -> list[str]:
    return [words[0] for _, words in lines_of(path, 1)]


def _read(path: Path) -> _Boxes:
    try:
        with open_regular(path) as file:
            tree = ElementTree.fromstring(file.read())  # noqa: S314 (expat bounds what entities expand to)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}. Is the download complete?") from error
    except ElementTree.ParseError as error:
        raise DatasetError(f"{path} is no XML: {error}.") from error
    try:
        size = int(_text(tree, "size/height")), int(_text(tree, "size/width"))
        return _Boxes(path, size, tuple(_box(each) for each in tree.findall("object")))
    except ValueError as error:
        raise DatasetError(
            f"{path}: {error}; expected size/width, size/height and boxes, as Pascal VOC has."
        ) from error


def _box(entry: ElementTree.Element) -> _Box:
    first = [float(_text(entry, f"bndbox/{name}")) - 1 for name in ("xmin", "ymin")]
    last = [float(_text(entry, f"bndbox/{name}")) for name in ("xmax", "ymax")]
    difficult = (entry.findtext("difficult") or "0").strip() == "1"
    return _Box(_text(entry, "name"), (first[0], first[1], last[0], last[1]), difficult)


def _text(entry: ElementTree.Element, name: str) -> str:
    found = entry.findtext(name)
    if found is None or not found.strip():
        raise ValueError(f"{name} is missing in <{entry.tag}>")
    return found.strip()


LAYOUTS.add("voc_boxes", VocBoxes())
