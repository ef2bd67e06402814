"""What the two forms of COCO's annotations have in common: categories, images, and where the files of a split lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muster.data.dataset_yaml import Description, Heading, read_description
from muster.data.json_files import read_json
from muster.data.mask_values import VOID_WORD
from muster.data.patterns import require_parts
from muster.data.sample_reader import FileImages, MaskSource, make_split
from muster.data.spec import VOID, Dataset
from muster.data.splits import compare_counts, divide_aloud
from muster.errors import DatasetError, some_names

FOLDER = "annotations"
CROWD = ("class", "void")
"""What ``crowd`` may say: regions of many objects belong to their class (the default), or are void."""

SPLITS = ("train", "test")
_TEST = ("val", "test")  # COCO's own test annotations are not public


@dataclass(frozen=True)
class Annotations:
    """One file of annotations.

    Attributes:
        path: The file.
        categories: Name of each category by its id, in the order of the ids.
        images: The entry of each image, by what its file is called without its ending.
        by_image: What is annotated, by the id of the image.
        points: Names of the points that objects of each category have, by its id.
    """

    path: Path
    categories: Mapping[int, str]
    images: Mapping[str, Mapping[str, Any]]
    by_image: Mapping[int, Sequence[Mapping[str, Any]]]
    points: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def read_annotations(path: Path) -> Annotations:
    """Read a file of annotations and check what it refers to.

    Args:
        path: The JSON file.

    Returns:
        Its content.

    Raises:
        DatasetError: If a part is missing, two images have one name, or an annotation is of no image or category.
    """
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise DatasetError(f"{path}: expected the key {key!r} with a list, as COCO's annotations have it.")
    try:
        categories = {int(each["id"]): str(each["name"]) for each in content["categories"]}
        points = {int(each["id"]): tuple(map(str, each.get("keypoints") or ())) for each in content["categories"]}
        images = {Path(each["file_name"]).with_suffix("").as_posix(): each for each in content["images"]}
        by_image: dict[int, list[Mapping[str, Any]]] = {int(each["id"]): [] for each in content["images"]}
        for annotation in content["annotations"]:
            if annotation["image_id"] not in by_image:
                raise DatasetError(
                    f"{path}: annotation {annotation.get('id')} is of image {annotation['image_id']}, which it does "
                    "not name."
                )
            by_image[annotation["image_id"]].append(annotation)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: an entry lacks {error}, or it is not what COCO's annotations have there."
        ) from error
    if len(images) < len(content["images"]):
        raise DatasetError(f"{path}: two images have the same file_name.")
    if len(categories) < len(content["categories"]):
        raise DatasetError(f"{path}: two categories have the same id.")
    return Annotations(path, dict(sorted(categories.items())), images, by_image, points)


def class_indices(description: Description, annotations: Annotations) -> dict[int, int]:
    """Class index of each category id: void for those that the description ignores.

    Args:
        description: Names the classes.
        annotations: Name the categories.

    Returns:
        By category id.

    Raises:
        DatasetError: If a category of this file is no class, as when the files of two splits differ.
    """
    classes, found = description.spec.classes, {}
    for number, name in annotations.categories.items():
        if name not in classes and name not in description.ignored_classes:
            raise DatasetError(
                f"{annotations.path}: category {number}, {name!r}, is no class of dataset {description.spec.name!r}."
            )
        found[number] = classes.index(name) if name in classes else VOID
    return found


def category_of(segment: Mapping[str, Any], indices: Mapping[int, int], where: str) -> int:
    """Class index of an annotated object.

    Args:
        segment: It.
        indices: See :func:`class_indices`.
        where: What messages call it.

    Returns:
        The index, or void.

    Raises:
        DatasetError: If its category is not known.
    """
    number = segment.get("category_id")
    if not isinstance(number, int) or number not in indices:
        raise DatasetError(f"{where} has the category {number!r}, but those are {sorted(indices)}.")
    return indices[number]


def is_found(folder: Path, kind: str) -> bool:
    """Whether a folder holds annotations of one kind, ``instances`` or ``panoptic``."""
    return any((folder / FOLDER).glob(f"{kind}_*.json"))


def find_files(heading: Heading, kind: str) -> dict[str, Path]:
    """The annotation files of the splits.

    Args:
        heading: Says where the dataset lies, and may name them.
        kind: ``instances`` or ``panoptic``.

    Returns:
        By ``train`` and ``test``; without the latter if there is but one file, which is to be divided.

    Raises:
        DatasetError: If one is missing, or there are several.
    """
    path = heading.path
    found: dict[str, Path] = {}
    for split in SPLITS:
        given = {key or "annotations": part for key, part in heading.splits.get(split, {}).items()}
        require_parts(path, split, given, ("annotations", "images", "masks"))
        if "annotations" in given:
            found[split] = heading.root / given["annotations"]
    if found and "train" not in found:
        raise DatasetError(f"{path}: key 'splits': expected the annotations of train beside those of test.")
    return found or _guess_files(heading.root, kind, heading.test_is_seeded)


def _guess_files(root: Path, kind: str, test_is_seeded: bool) -> dict[str, Path]:
    every = sorted((root / FOLDER).glob(f"{kind}_*.json"))
    if len(every) == 1:
        return {"train": every[0]}
    found = {}
    for split, beginnings in (("train", ("train",)), ("test", _TEST)):
        there = [[file for file in every if file.name.startswith(f"{kind}_{start}")] for start in beginnings]
        candidates = next((files for files in there if files), [])
        if split == "test" and test_is_seeded:
            continue
        if len(candidates) != 1:
            names = ", ".join(file.name for file in candidates) or "none"
            raise DatasetError(
                f"Expected one file {FOLDER}/{kind}_{' or '.join(beginnings)}*.json in {root} for split {split!r}, but "
                f"there is {names}. Name it in dataset.yaml: 'splits: {{train: FILE, test: FILE}}'."
            )
        found[split] = candidates[0]
    return found


def image_files(root: Path, annotations: Annotations, kind: str, folder: str | None, dataset: str) -> dict[str, Path]:
    """Where the images of a file of annotations lie.

    Args:
        root: Folder of the dataset.
        annotations: Name the images.
        kind: ``instances`` or ``panoptic``.
        folder: What the description says; otherwise the folder of the split's name, there or below ``images/``.
        dataset: Name of the dataset, for messages.

    Returns:
        By identifier, in order.

    Raises:
        DatasetError: If the folder or an image is missing.
    """
    split = annotations.path.stem.removeprefix(f"{kind}_")
    tried = [root / folder] if folder else [root / split, root / "images" / split, root / "images"]
    found = next((place for place in tried if place.is_dir()), None)
    if found is None:
        raise DatasetError(
            f"Dataset {dataset!r}: the images of {annotations.path.name} are in none of {', '.join(map(str, tried))}. "
            "Say where in dataset.yaml: 'splits: {train: {annotations: FILE, images: FOLDER}, test: ...}'."
        )
    files = {name: found / entry["file_name"] for name, entry in sorted(annotations.images.items())}
    missing = [str(file) for file in files.values() if not file.is_file()]
    if missing:
        told = some_names(missing, most=1)
        raise DatasetError(f"Dataset {dataset!r}: {annotations.path} names images that are missing: {told}.")
    if not files:
        raise DatasetError(f"Dataset {dataset!r} has an empty split: {annotations.path} names no image.")
    return files


class CocoDataset:
    """Opens both splits of one kind of annotations."""

    def __init__(
        self,
        heading: Heading,
        kind: str,
        keys: Sequence[str],
        background: bool,
        classes: Callable[[Annotations], Sequence[str]] | None = None,
    ) -> None:
        """Read the annotations and the description.

        Args:
            heading: Of the dataset folder.
            kind: ``instances`` or ``panoptic``.
            keys: Of the description, those that have an effect.
            background: Whether pixels of no object are a class by default.
            classes: Finds the classes in the annotations of the training images; by default they are the categories.

        Raises:
            DatasetError: If something is missing or wrong.
        """
        files = find_files(heading, kind)
        self.kind = kind
        self.annotations = {split: read_annotations(path) for split, path in files.items()}
        self.background = str(heading.options.get("background", "background")) if background else VOID_WORD
        train = self.annotations["train"]
        names = list(dict.fromkeys(train.categories.values() if classes is None else classes(train)))
        if self.background not in {VOID_WORD, *names}:
            names.insert(0, self.background)
        self.description = read_description(heading, heading.unsaid | {"classes": names}, files["train"], keys)

    def option(self, key: str, allowed: Sequence[str]) -> str:
        """A key of the description with a few possible values, of which the first is the default."""
        value = self.description.options.get(key, allowed[0])
        if value not in allowed:
            raise DatasetError(
                f"{self.description.path}: key {key!r}: expected {' or '.join(allowed)}, but got {value!r}."
            )
        return str(value)

    def files(self) -> dict[str, tuple[dict[str, Path], Annotations]]:
        """The images of both splits by identifier, with the annotations that they are in.

        Raises:
            DatasetError: If an image is missing.
        """
        description, root = self.description, self.description.root
        files: dict[str, dict[str, Path]] = {}
        for name, labelled in self.annotations.items():
            folder = description.splits.get(name, {}).get("images")
            files[name] = image_files(root, labelled, self.kind, folder, description.spec.name)
        if "test" not in files:
            every = files["train"]
            parts = divide_aloud(description, "A single file of COCO's annotations", every)
            files = {name: {each: every[each] for each in part} for name, part in zip(SPLITS, parts, strict=True)}
        return {name: (each, self.annotations.get(name, self.annotations["train"])) for name, each in files.items()}

    def opened(self, masks: Mapping[str, MaskSource], reference: str) -> Dataset:
        """The dataset, with the ground truth of its splits.

        Args:
            masks: By the splits that have annotations.
            reference: What it is to be called in records.

        Returns:
            The dataset.

        Raises:
            DatasetError: If an image is missing.
        """
        description, files = self.description, self.files()
        train, test = (
            make_split(
                description,
                name,
                FileImages(description.spec, files[name][0], description.bands),
                masks.get(name, masks["train"]),
            )
            for name in SPLITS
        )
        compare_counts(description, {"train": len(train), "test": len(test)})
        return Dataset(description.spec, train, test, reference)
