"""CUB-200-2011 and NABirds: lists of images, of their classes, and of the split, all by the numbers of the images.

::

    CUB_200_2011/                         (or nabirds/)
      images/001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111.jpg
      images.txt                          number and path of each image
      image_class_labels.txt              number of the image, number of its class
      train_test_split.txt                number of the image, 1 for training
      classes.txt                         number and name of each class
      hierarchy.txt                       (NABirds)

Classes are those that images have, in the order of their numbers: NABirds numbers its groups of species too.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from muster.data.dataset_yaml import Heading
from muster.data.layout import LAYOUTS, Layout
from muster.data.published_images import describe, open_copy
from muster.data.spec import Dataset
from muster.data.text_lists import lines_of, require_images, whole_number
from muster.errors import DatasetError

_LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")


class Birds(Layout):
    """Four lists beside ``images/``."""

    def recognises(self, folder: Path) -> bool:
        """By three of the lists."""
        return all((folder / name).is_file() for name in _LISTS[:3])

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are paths below ``images/``, without their ending."""
        root = heading.root
        images, labels, training, names = (_by_number(root / name) for name in _LISTS)
        used = sorted(
            {label for _, label in labels.values()}, key=lambda each: whole_number(str(root / _LISTS[1]), each)
        )
        classes = _names(root, used, names)
        description = describe(heading, classes, f"{_LISTS[3]} says")
        require_images({place: root / "images" / path for place, path in images.values()}, f"lists in {root}")
        places = {label: index for index, label in enumerate(used)}
        splits: dict[str, dict[str, tuple[Path, int]]] = {"train": {}, "test": {}}
        for number, (place, path) in images.items():
            if number not in labels or number not in training:
                raise DatasetError(f"{place}: {_LISTS[1] if number not in labels else _LISTS[2]} does not name it.")
            split = "test" if training[number][1] == "0" else "train"
            identifier = Path(path).with_suffix("").as_posix()
            splits[split][identifier] = root / "images" / path, places[labels[number][1]]
        return open_copy(description, splits, reference)


def _by_number(path: Path) -> dict[str, tuple[str, str]]:
    """What a list says of each number, with the place for messages."""
    found: dict[str, tuple[str, str]] = {}
    for place, (number, said) in lines_of(path, 2):
        if number in found:
            raise DatasetError(f"{place}: {number} is there twice: also at {found[number][0]}.")
        found[number] = place, said
    return found


def _names(root: Path, used: list[str], names: dict[str, tuple[str, str]]) -> list[str]:
    if missing := [label for label in used if label not in names]:
        raise DatasetError(
            f"{root / _LISTS[3]}: no class has the number {missing[0]}, but {_LISTS[1]} has images of it."
        )
    said = [names[label][1] for label in used]
    often = Counter(said)
    return [name if often[name] == 1 else f"{name} ({label})" for name, label in zip(said, used, strict=True)]


LAYOUTS.add("cub200", Birds())
