"""Datasets in folders: images and index masks with the same stem, described by a ``dataset.yaml``.

Two layouts are read::

    mydata/                            mydata/
      dataset.yaml                       dataset.yaml
      train/images/a.jpg                 images/a.jpg
      train/masks/a.png                  masks/a.png
      test/images/b.jpg                  splits.yaml      (optional: train: [...], test: [...])
      test/masks/b.png

Left: ``val`` may stand in place of ``test``; where both exist, ``test`` is the test split and ``val`` is not used.
Right: without a ``splits.yaml`` a fifth of the pictures, chosen by a hash of their names, is the test split;
:func:`split_record` says which, in the form of a ``splits.yaml``. Nothing is ever written into the folder.

Opening looks at names only; pixels are checked when a picture is read, or all at once by
:func:`muster.data.statistics.check_split`.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch
import yaml
from jaxtyping import UInt8
from torch import Tensor

from muster.data.content import FileContents
from muster.data.dataset_yaml import Description, read_description
from muster.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES, read_image, read_mask
from muster.data.spec import VOID, Dataset, DatasetSpec, Sample, Split
from muster.errors import DatasetError

SPLITS_FILE = "splits.yaml"
TEST_FRACTION = 0.2
"""Share of the pictures that become the test split of a folder without splits."""

_SPLIT_SEED = 0
_SHOWN = 5
"""How many names a message lists before it only counts."""

Files = dict[str, tuple[Path, Path]]
"""Identifier of each picture -> its image and its mask."""


def open_folder(path: Path, reference: str | None = None) -> Dataset:
    """Open a dataset folder (see the module's text for its layouts).

    Args:
        path: The folder.
        reference: What the dataset is to be called in records; the path, by default.

    Returns:
        The dataset; pictures are read when asked for. ``identifiers`` are stems, in the order of their code points.

    Raises:
        DatasetError: If the description or the layout is wrong, a split is empty, or images and masks do not pair up.

    Warns:
        UserWarning: If ``counts`` in the description disagrees with what is found, or ``val`` is left unused.
    """
    description = read_description(path)
    train, test, test_name = _find_splits(path, description.spec.name)
    _compare_counts(description, {"train": len(train), test_name: len(test)})
    return Dataset(
        spec=description.spec,
        train=_make_split(description, "train", train),
        test=_make_split(description, "test", test),
        reference=str(path) if reference is None else reference,
    )


def split_record(dataset: Dataset) -> dict[str, list[str]]:
    """Say which pictures are in which split, to be kept beside a run.

    Args:
        dataset: Any dataset.

    Returns:
        ``{"train": identifiers, "test": identifiers}``: written as YAML, a valid ``splits.yaml``.
    """
    return {"train": list(dataset.train.identifiers), "test": list(dataset.test.identifiers)}


def list_pictures(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES, dataset: str = "") -> dict[str, Path]:
    """Find the pictures that lie directly in a folder; hidden files and files of other kinds are passed over.

    Args:
        folder: Where to look.
        suffixes: File name endings in lower case; any case matches.
        dataset: Name of the dataset, for the message of an error.

    Returns:
        Stem (in Unicode normal form C, so that names from different systems match) -> file, in order of the stems.

    Raises:
        DatasetError: If the folder cannot be listed, or two pictures have the same stem.
    """
    whose = f" of dataset {dataset!r}" if dataset else ""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and not entry.is_dir())
    except OSError as error:
        raise DatasetError(f"Expected a folder {folder}{whose}, but it cannot be listed: {error.strerror}.") from error
    found: dict[str, Path] = {}
    for name in names:
        file = folder / name
        stem = unicodedata.normalize("NFC", file.stem)
        if file.suffix.lower() not in suffixes:
            continue
        if stem in found:
            raise DatasetError(
                f"Expected one picture per stem in {folder}{whose}, but got {found[stem].name!r} and {name!r}."
            )
        found[stem] = file
    return dict(sorted(found.items()))


@dataclass(frozen=True, eq=False)
class FolderReader:
    """Reads the pictures of one split.

    Attributes:
        spec: The dataset.
        ignore_index: Stored mask value that means void.
        files: Image and mask of each identifier.
    """

    spec: DatasetSpec
    ignore_index: int
    files: Mapping[str, tuple[Path, Path]]

    def __call__(self, identifier: str) -> Sample:
        """Read one picture and check its mask.

        Args:
            identifier: Its stem.

        Returns:
            The picture; void is :data:`VOID` whatever value the file uses.

        Raises:
            DatasetError: If a file is missing or damaged, if image and mask differ in size, or if the mask holds a
                value that is neither a class nor void.
        """
        if identifier not in self.files:
            raise DatasetError(f"Dataset {self.spec.name!r}: {_unknown_picture(identifier, self.files)}")
        image_file, mask_file = self.files[identifier]
        image = read_image(image_file, self.spec.name)
        mask = read_mask(mask_file, self.spec.name)
        if image.shape[1:] != mask.shape:
            raise DatasetError(self._size_message(image_file, mask_file, image, mask))
        self._check_values(mask_file, mask)
        if self.ignore_index != VOID:
            mask[mask == self.ignore_index] = VOID
        return Sample(identifier, image, mask)

    def _size_message(
        self, image_file: Path, mask_file: Path, image: UInt8[Tensor, "3 h w"], mask: UInt8[Tensor, "y x"]
    ) -> str:
        height, width = image.shape[1:]
        turned = " Was the image rotated by its EXIF tag, and the mask not?" if mask.shape == (width, height) else ""
        return (
            f"Expected image and mask of dataset {self.spec.name!r} to have the same size, but {image_file} is "
            f"{width} x {height} and {mask_file} is {mask.shape[1]} x {mask.shape[0]} (width x height).{turned}"
        )

    def _check_values(self, mask_file: Path, mask: UInt8[Tensor, "h w"]) -> None:
        counts = torch.bincount(mask.flatten(), minlength=256)
        counts[: self.spec.num_classes] = 0
        counts[self.ignore_index] = 0
        wrong = counts.nonzero().flatten().tolist()
        if wrong:
            values = ", ".join(str(value) for value in wrong[:_SHOWN]) + (", ..." if len(wrong) > _SHOWN else "")
            raise DatasetError(
                f"Mask {mask_file} of dataset {self.spec.name!r} holds the value(s) {values} ({int(counts.sum())} "
                f"pixels), but the dataset has {self.spec.num_classes} classes (0 to {self.spec.num_classes - 1}) and "
                f"{self.ignore_index} for void. Correct the mask, or classes and ignore_index in dataset.yaml."
            )


def _make_split(description: Description, name: str, files: Files) -> Split:
    reader = FolderReader(description.spec, description.ignore_index, files)
    content = FileContents({identifier: image for identifier, (image, _) in files.items()})
    return Split(description.spec, name, tuple(files), reader, content)


def _find_splits(root: Path, dataset: str) -> tuple[Files, Files, str]:
    """Files of the training and of the test split, and what the folder calls the latter."""
    divided = (root / "train").is_dir()
    whole = (root / "images").is_dir()
    if divided and (whole or (root / SPLITS_FILE).exists()):
        other = "images/" if whole else SPLITS_FILE
        raise DatasetError(f"{root} has both train/ and {other}, so its splits are not clear. Move one of them away.")
    if whole:
        files = _pair_up(root, dataset)
        names = _read_splits(root / SPLITS_FILE, files) if (root / SPLITS_FILE).exists() else _divide(root, files)
        train, test = ({name: files[name] for name in part} for part in names)
        return train, test, "test"
    test_name = next((name for name in ("test", "val") if (root / name).is_dir()), None)
    if not divided or test_name is None:
        raise DatasetError(
            f"Expected train/ and test/ (or val/) in {root} (dataset {dataset!r}), each with images/ and masks/, but "
            f"{'train/' if not divided else 'test/'} is missing. Without splits, put images/ and masks/ directly into "
            f"the folder: a fifth is then held out for testing."
        )
    if test_name == "test" and (root / "val").is_dir():
        warnings.warn(f"{root} has test/ and val/: test/ is the test split, val/ is not used.", stacklevel=3)
    return _pair_up(root / "train", dataset), _pair_up(root / test_name, dataset), test_name


def _pair_up(folder: Path, dataset: str) -> Files:
    images = list_pictures(folder / "images", dataset=dataset)
    masks = list_pictures(folder / "masks", MASK_SUFFIXES, dataset)
    lossy = list_pictures(folder / "masks", IMAGE_SUFFIXES - MASK_SUFFIXES, dataset)
    if lossy:
        raise DatasetError(f"Masks of dataset {dataset!r} must be PNG files, but there is {_few(lossy.values())}.")
    if not images and not masks:
        deeper = any(entry.is_dir() for entry in (folder / "images").iterdir())
        hint = " Pictures in sub-folders are not read: put them directly into images/." if deeper else ""
        raise DatasetError(f"Dataset {dataset!r} has an empty split: no images in {folder / 'images'}.{hint}")
    for kind, other, alone in (
        ("image", "mask", [images[stem] for stem in images if stem not in masks]),
        ("mask", "image", [masks[stem] for stem in masks if stem not in images]),
    ):
        if alone:
            raise DatasetError(
                f"Dataset {dataset!r}: {len(alone)} {kind}(s) in {folder} without {other} of the same stem: "
                f"{_few(alone)}."
            )
    return {stem: (images[stem], masks[stem]) for stem in images}


def _few(files: Iterable[Path]) -> str:
    names = [f"{file.parent.name}/{file.name}" for file in files]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _divide(root: Path, files: Files) -> tuple[list[str], list[str]]:
    if len(files) < 2:
        raise DatasetError(f"Expected at least 2 images in {root} to divide into train and test, but got {len(files)}.")
    # A hash of the name, unlike a shuffle, leaves nearly every picture in its split when others are added later.
    order = sorted(files, key=lambda stem: hashlib.sha256(f"{_SPLIT_SEED}:{stem}".encode()).digest())
    held = set(order[: max(1, round(TEST_FRACTION * len(files)))])
    return [stem for stem in files if stem not in held], [stem for stem in files if stem in held]


def _read_splits(path: Path, files: Files) -> tuple[list[str], list[str]]:
    """The splits that a ``splits.yaml`` names, by stem or by image file name; pictures not named are left out."""
    try:
        # BaseLoader leaves every name as text (to other loaders 0001 is a number) and makes no objects of any kind.
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read as YAML in UTF-8: {error}") from error
    if not isinstance(content, dict) or set(content) != {"train", "test"}:
        raise DatasetError(f"{path}: expected the keys 'train' and 'test', each with a list of picture names.")
    known = {stem: stem for stem in files} | {image.name: stem for stem, (image, _) in files.items()}
    train, test = (_named_pictures(path, key, content[key], known) for key in ("train", "test"))
    shared = sorted(set(train) & set(test))
    if shared:
        raise DatasetError(f"{path}: {len(shared)} picture(s) are in both splits: {', '.join(shared[:_SHOWN])}.")
    return train, test


def _named_pictures(path: Path, key: str, names: object, known: Mapping[str, str]) -> list[str]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DatasetError(f"{path}: key {key!r}: expected a list of at least one picture name.")
    plain = [unicodedata.normalize("NFC", name) for name in names]
    for name in plain:
        if name not in known:
            raise DatasetError(f"{path}: key {key!r}: {_unknown_picture(name, known)}")
    stems = [known[name] for name in plain]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise DatasetError(f"{path}: key {key!r}: picture {twice!r} is named twice.")
    return sorted(stems)


def _unknown_picture(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)  # not all known names: there may be thousands
    return f"There is no picture {name!r}." + (f" Did you mean {close[0]!r}?" if close else "")


def _compare_counts(description: Description, found: Mapping[str, int]) -> None:
    for name, count in found.items():
        stated = description.counts.get(name, count)
        if stated != count:
            warnings.warn(
                f"{description.path} states {stated} pictures in {name}, but {count} are there: a partial copy?",
                stacklevel=3,
            )
