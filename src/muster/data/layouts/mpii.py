"""MPII Human Pose: a MATLAB file that says which persons and joints each image has.

::

    mpii/
      images/015601864.jpg
      mpii_human_pose_v1_u12_1.mat      (or below mpii_human_pose_v1_u12_2/)

The joints of the challenge's test images are not public, so a fifth of its training images, chosen by a hash of their
names, are the test split (M21 does not say which of them it takes). A person's box is that of the joints, wider by a
tenth at each side; the area that OKS divides by is 0.53 times its own, as pose estimation usually takes for COCO's
boxes without masks. Persons without joints are left out.

Source: http://human-pose.mpi-inf.mpg.de/, whose page describes the structure. It was not compared with the archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from muster.data.dataset_yaml import IMAGE_KEYS, Heading, read_description
from muster.data.layout import LAYOUTS, Layout
from muster.data.matlab import read_matlab
from muster.data.object_files import Annotated, dataset_of_objects
from muster.data.spec import Dataset
from muster.data.splits import divide
from muster.data.text_lists import require_images
from muster.errors import DatasetError

JOINTS = (
    "right ankle", "right knee", "right hip", "left hip", "left knee", "left ankle", "pelvis", "thorax", "upper neck",
    "head top", "right wrist", "right elbow", "right shoulder", "left shoulder", "left elbow", "left wrist",
)  # fmt: skip

FILE, FOLDER = "mpii_human_pose_v1_u12_1.mat", "mpii_human_pose_v1_u12_2"

_MARGIN, _FILLED = 0.1, 0.53


class Mpii(Layout):
    """The archive as it is."""

    def recognises(self, folder: Path) -> bool:
        """By the file of annotations."""
        return any(place.is_file() for place in _places(folder))

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the names of the images."""
        from muster.data.layouts.coco_keypoints import tolerances_of

        path = next((place for place in _places(heading.root) if place.is_file()), heading.root / FILE)
        description = read_description(heading, heading.unsaid | {"classes": list(JOINTS)}, path, IMAGE_KEYS)
        images = {
            name: (heading.root / "images" / f"{name}.jpg", Annotated(rows, None, str(path)))
            for name, rows in _images(path)
        }
        require_images({name: file for name, (file, _) in images.items()}, str(path))
        parts = zip(("train", "test"), divide(heading.root, list(images)), strict=True)
        splits = {split: {name: images[name] for name in names} for split, names in parts}
        return dataset_of_objects(description, splits, reference, tolerances_of(JOINTS), task="keypoints")


def _places(root: Path) -> tuple[Path, Path]:
    return root / FILE, root / FOLDER / FILE


def _images(path: Path) -> Iterator[tuple[str, tuple[tuple[float, ...], ...]]]:
    """Names of the training images that show joints, with the persons in them."""
    try:
        release = read_matlab(path)["RELEASE"]
        entries, flags = _listed(release["annolist"]), np.atleast_1d(release["img_train"].item())
        for entry, flag in zip(entries, flags, strict=True):
            persons = [row for each in _listed(entry["annorect"]) if (row := _person(each)) is not None]
            if int(flag) and persons:
                yield Path(str(_listed(entry["image"])[0]["name"])).stem, tuple(persons)
    except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise DatasetError(
            f"{path}: it is not what MPII Human Pose has there: {error!r}. Download it again."
        ) from error


def _listed(value: Any) -> list[Any]:
    """The entries of a structure, which MATLAB leaves empty where there are none."""
    found = np.asarray(value)
    while found.ndim == 0 and found.dtype.hasobject and not found.dtype.names:
        found = np.asarray(found.item())
    if not found.size:
        return []
    entries = list(np.atleast_1d(found))
    return entries if found.dtype.names else [each for entry in entries for each in _listed(entry)]


def _person(entry: Any) -> tuple[float, ...] | None:
    if "annopoints" not in (entry.dtype.names or ()):
        return None
    points = [0.0] * (3 * len(JOINTS))
    for holder in _listed(entry["annopoints"]):
        for point in _listed(holder["point"]):
            joint = int(point["id"])
            shown = point["is_visible"] if "is_visible" in point.dtype.names else 1
            seen = 2.0 if np.size(shown) and int(np.asarray(shown).item()) else 1.0
            points[3 * joint : 3 * joint + 3] = float(point["x"]), float(point["y"]), seen
    known = np.array(points).reshape(-1, 3)
    known = known[known[:, 2] > 0, :2]
    if not len(known):
        return None
    low, high = known.min(axis=0), known.max(axis=0)
    wider = _MARGIN * (high - low)
    low, high = low - wider, high + wider
    return (*low.tolist(), *high.tolist(), 0.0, 0.0, float(_FILLED * np.prod(high - low)), *points)


LAYOUTS.add("mpii", Mpii())
