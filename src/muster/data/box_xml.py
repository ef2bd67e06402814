"""Boxes of one image in an XML file of Pascal VOC's form, which many tools of annotation write.

Boxes are given by their first and last pixel, counted from 1.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2007, development kit, section 2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from muster.data.boxes import PASSED_OVER
from muster.data.object_files import Annotated
from muster.data.spec import VOID
from muster.errors import DatasetError, unknown_name
from muster.user_files import open_regular


@dataclass(frozen=True)
class Box:
    """One object.

    Attributes:
        name: What the file calls it.
        corners: Left, top, right and bottom, in pixels from the corner of the image.
        is_difficult: Whether it is neither to be learned nor scored.
    """

    name: str
    corners: tuple[float, float, float, float]
    is_difficult: bool


@dataclass(frozen=True)
class BoxFile:
    """What a file says.

    Attributes:
        path: The file.
        size: Rows and columns of its image.
        objects: What is in it.
    """

    path: Path
    size: tuple[int, int]
    objects: tuple[Box, ...]

    def annotated(self, indices: Mapping[str, int]) -> Annotated:
        """The objects as rows of a truth.

        Args:
            indices: Class index of each name, or void for what is left out.

        Raises:
            DatasetError: If an object has another name.
        """
        rows = []
        for each in self.objects:
            if each.name not in indices:
                raise DatasetError(f"{self.path}: {unknown_name('class', each.name, tuple(indices))}")
            if (index := indices[each.name]) != VOID:
                rows.append((*each.corners, float(index), float(PASSED_OVER * each.is_difficult)))
        return Annotated(tuple(rows), self.size, str(self.path))


def read_boxes(path: Path) -> BoxFile:
    """Read a file.

    Args:
        path: The file.

    Raises:
        DatasetError: If it cannot be read, or lacks what such a file has.
    """
    try:
        with open_regular(path) as file:
            tree = ElementTree.fromstring(file.read())  # noqa: S314 (expat bounds what entities expand to)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}. Is the download complete?") from error
    except ElementTree.ParseError as error:
        raise DatasetError(f"{path} is no XML: {error}.") from error
    try:
        size = int(_text(tree, "size/height")), int(_text(tree, "size/width"))
        return BoxFile(path, size, tuple(_box(each) for each in tree.findall("object")))
    except ValueError as error:
        raise DatasetError(
            f"{path}: {error}; expected size/width, size/height and boxes, as Pascal VOC has."
        ) from error


def _box(entry: ElementTree.Element) -> Box:
    first = [float(_text(entry, f"bndbox/{name}")) - 1 for name in ("xmin", "ymin")]
    last = [float(_text(entry, f"bndbox/{name}")) for name in ("xmax", "ymax")]
    difficult = (entry.findtext("difficult") or "0").strip() == "1"
    return Box(_text(entry, "name"), (first[0], first[1], last[0], last[1]), difficult)


def _text(entry: ElementTree.Element, name: str) -> str:
    found = entry.findtext(name)
    if found is None or not found.strip():
        raise ValueError(f"{name} is missing in <{entry.tag}>")
    return found.strip()
