"""Pascal VOC, its classification task: for each class a list of the images, with a number that says if it is there.

::

    VOC2007/
      JPEGImages/000005.jpg
      ImageSets/Main/aeroplane_trainval.txt      000005 -1, and so on: -1 is not there, 1 is, 0 is difficult
      ImageSets/Main/aeroplane_test.txt          (from the archive of the test images)

An image has several classes, or none. It is not known whether it has those of which all objects are difficult: the
challenge counts them neither as right nor as wrong, and so are they not learned here.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2007, development kit, section 3.1: lists of each
class, and difficult objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muster.data.dataset_yaml import IMAGE_KEYS, Heading
from muster.data.labelled_images import several_classes
from muster.data.layout import LAYOUTS, Layout
from muster.data.patterns import require_parts
from muster.data.published_images import describe, open_copy
from muster.data.spec import Dataset
from muster.data.text_lists import lines_of, require_images
from muster.errors import DatasetError

LISTS, IMAGES = "ImageSets/Main", "JPEGImages"
_SAID = {"1": "there", "0": "difficult", "-1": "not there"}


class VocClassification(Layout):
    """Lists of each class for two sets."""

    def recognises(self, folder: Path) -> bool:
        """By the lists of a class. A folder with masks is taken for one of segmentation, unless ``reader`` says so."""
        return (
            (folder / IMAGES).is_dir()
            and not (folder / "SegmentationClass").is_dir()
            and any(any((folder / LISTS).glob(f"*_{name}.txt")) for name in ("trainval", "train"))
        )

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the names of the images."""
        root, sets = heading.root, _sets(heading)
        lists = {split: _lists_of(root, name) for split, name in sets.items()}
        classes = sorted(lists["train"])
        if odd := sorted(set(classes) ^ set(lists["test"])):
            missing = sets["test"] if odd[0] in lists["train"] else sets["train"]
            raise DatasetError(f"{root / LISTS}: there is no {odd[0]}_{missing}.txt. Is the download complete?")
        keys, known = (*IMAGE_KEYS, "splits"), {"domain": "consumer photos"}
        description = describe(heading, classes, "the names of the lists say", keys, known)
        splits = {split: _labelled(root, each, classes) for split, each in lists.items()}
        if shared := sorted(set(splits["train"]) & set(splits["test"])):
            raise DatasetError(
                f"{root / LISTS}: {len(shared)} image(s) are in both {sets['train']} and {sets['test']}: {shared[0]}."
            )
        for split, each in splits.items():
            require_images(
                {name: file for name, (file, _) in each.items()}, f"lists of {sets[split]} in {root / LISTS}"
            )
        return open_copy(description, splits, reference, task="multilabel")


def _sets(heading: Heading) -> dict[str, str]:
    """Name of the set of each split: trainval and test where there are lists of both, otherwise train and val."""
    said = {}
    for split, parts in heading.splits.items():
        require_parts(heading.path, split, {key or "set": part for key, part in parts.items()}, ("set",))
        said[split] = next(iter(parts.values()))
    has_test = any((heading.root / LISTS).glob("*_test.txt"))
    usual = {"train": "trainval", "test": "test"} if has_test else {"train": "train", "test": "val"}
    return {**usual, **said}


def _lists_of(root: Path, name: str) -> dict[str, Path]:
    """The list of each class."""
    end = f"_{name}.txt"
    found = {path.name.removesuffix(end): path for path in sorted((root / LISTS).glob(f"*{end}"))}
    if not found:
        raise DatasetError(f"{root / LISTS}: expected a list CLASS{end} for each class, but there is none.")
    return found


def _labelled(root: Path, lists: Mapping[str, Path], classes: list[str]) -> dict[str, tuple[Path, bytes]]:
    """File and label of each image."""
    said = {name: _said(path) for name, path in lists.items()}
    first = said[classes[0]]
    for name, each in said.items():
        if odd := sorted(set(first) ^ set(each)):
            raise DatasetError(
                f"{lists[name] if odd[0] in first else lists[classes[0]]}: the image {odd[0]!r} is missing. Expected "
                "the lists of all classes to name the same images."
            )
    found = {}
    for image in first:
        having, unknown = ([at for at, name in enumerate(classes) if said[name][image] == word] for word in ("1", "0"))
        found[image] = root / IMAGES / f"{image}.jpg", several_classes(len(classes), having, unknown)
    return found


def _said(path: Path) -> dict[str, str]:
    """What a list says of each image."""
    found: dict[str, str] = {}
    for place, (image, number) in lines_of(path, 2):
        if number not in _SAID:
            meant = ", ".join(f"{key} ({word})" for key, word in _SAID.items())
            raise DatasetError(f"{place}: expected one of {meant}, but got {number!r}.")
        if image in found:
            raise DatasetError(f"{place}: the image {image!r} is there twice.")
        found[image] = number
    if not found:
        raise DatasetError(f"{path} names no image.")
    return found


LAYOUTS.add("voc_classification", VocClassification())
