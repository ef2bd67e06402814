"""Oxford-IIIT Pets, its 37 breeds.

::

    oxford-iiit-pet/
      images/Abyssinian_1.jpg
      annotations/trainval.txt            name of the image, number of the breed, species, number within it
      annotations/test.txt
"""

from __future__ import annotations

from pathlib import Path

from muster.data.dataset_yaml import Heading
from muster.data.layout import LAYOUTS, Layout
from muster.data.published_images import describe, open_copy
from muster.data.spec import Dataset
from muster.data.text_lists import lines_of, require_images, whole_number
from muster.errors import DatasetError

_LISTS = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}


class OxfordPets(Layout):
    """Two lists, and images whose names begin with their breed."""

    def recognises(self, folder: Path) -> bool:
        """By the two lists and the folder of images."""
        return (folder / "images").is_dir() and all((folder / name).is_file() for name in _LISTS.values())

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the names of the images."""
        root = heading.root
        breeds: dict[int, str] = {}
        listed = {split: _listed(root / name, breeds) for split, name in _LISTS.items()}
        classes = [breeds[number] for number in sorted(breeds)]
        description = describe(heading, classes, "the lists of the images say")
        if shared := sorted(set(listed["train"]) & set(listed["test"])):
            raise DatasetError(f"{listed['test'][shared[0]][0]}: the image {shared[0]!r} is in trainval.txt too.")
        files = {name: root / "images" / f"{name}.jpg" for each in listed.values() for name in each}
        require_images(files, f"lists in {root / 'annotations'}")
        splits = {
            split: {name: (files[name], classes.index(breeds[number])) for name, (_, number) in each.items()}
            for split, each in listed.items()
        }
        return open_copy(description, splits, reference)


def _listed(path: Path, breeds: dict[int, str]) -> dict[str, tuple[str, int]]:
    """Place and number of the breed of each image; the names of the breeds are added."""
    found: dict[str, tuple[str, int]] = {}
    for place, (name, said, _) in lines_of(path, 3):
        number, breed = whole_number(place, said), name.rpartition("_")[0]
        if breeds.setdefault(number, breed) != breed:
            raise DatasetError(f"{place}: breed {number} is {breeds[number]!r} in another line, but {breed!r} here.")
        if name in found:
            raise DatasetError(f"{place}: the image {name!r} is there twice: also at {found[name][0]}.")
        found[name] = place, number
    return found


LAYOUTS.add("oxford_pets", OxfordPets())
