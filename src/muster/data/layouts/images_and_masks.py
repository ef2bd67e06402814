"""Datasets in folders: images and index masks with the same stem, described by a ``dataset.yaml``.

Two layouts are read::

    mydata/                            mydata/
      dataset.yaml                       dataset.yaml
      train/images/a.jpg                 images/a.jpg
      train/masks/a.png                  masks/a.png
      test/images/b.jpg                  splits.yaml      (optional: train: [...], test: [...])
      test/masks/b.png

Left: ``val`` may stand in place of ``test``; where both exist, ``test`` is the test split and ``val`` is not used.
Right: without a ``splits.yaml`` a fifth of the images, chosen by a hash of their names, is the test split;
:func:`muster.data.split_record` says which, in the form of a ``splits.yaml``. Nothing is ever written into the folder.

Opening looks at names only; pixels are checked when an image is read, or all at once by
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

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from muster.data.content import FileContents
from muster.data.dataset_yaml import Description, read_description
from muster.data.images import Header, StoredMask, read_header, read_image, read_stored_mask
from muster.data.layout import DEFAULT, LAYOUTS, Layout
from muster.data.mask_values import MaskValues
from muster.data.orientation import UPRIGHT, Orientation, masks_lie_as_stored, turn_upright
from muster.data.pairing import SHOWN, Files, pair_up
from muster.data.spec import Dataset, DatasetSpec, Sample, Split
from muster.errors import DatasetError
from muster.user_files import read_yaml_file

SPLITS_FILE = "splits.yaml"
TEST_FRACTION = 0.2
"""Share of the images that become the test split of a folder without splits."""

_SPLIT_SEED = 0


class ImagesAndMasks(Layout):
    """What every folder is taken for that no other layout recognises."""

    def recognises(self, folder: Path) -> bool:  # noqa: ARG002
        """It waits for others to say no."""
        return False

    def open(self, folder: Path, reference: str) -> Dataset:
        """See :func:`open_images_and_masks`."""
        return open_images_and_masks(folder, reference)


LAYOUTS.add(DEFAULT, ImagesAndMasks())


def open_images_and_masks(path: Path, reference: str) -> Dataset:
    """Open a dataset folder (see the module's text for how it may look).

    Args:
        path: The folder.
        reference: What the dataset is to be called in records.

    Returns:
        The dataset; images are read when asked for. ``identifiers`` are stems, in the order of their code points.

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
        reference=reference,
    )


@dataclass(frozen=True, eq=False)
class FolderReader:
    """Reads the images of one split.

    Attributes:
        spec: The dataset.
        masks: What the values stored in masks mean.
        orientation: How masks lie where images have an EXIF orientation, if that is known.
        files: Image and mask of each identifier.
    """

    spec: DatasetSpec
    masks: MaskValues
    orientation: Orientation | None
    files: Mapping[str, tuple[Path, Path]]

    def __call__(self, identifier: str) -> Sample:
        """Read one image and check its mask.

        Args:
            identifier: Its stem.

        Returns:
            The image; void is :data:`muster.data.VOID` whatever value the file uses.

        Raises:
            DatasetError: If a file is missing or damaged, if image and mask differ in size, if it is not clear how the
                mask lies on the image, or if the mask holds a value that is neither a class nor void.
        """
        mask, as_stored = self._mask(identifier)
        image = read_image(self.files[identifier][0], self.spec.name, as_stored)
        return Sample(identifier, image, mask)

    def mask(self, identifier: str) -> UInt8[Tensor, "h w"]:
        """The mask alone, checked in the same way; of the image only the header is read.

        Args:
            identifier: Stem of the image.

        Returns:
            uint8, class indices and void.

        Raises:
            DatasetError: As for the whole image, but for damaged pixels of the image.
        """
        return self._mask(identifier)[0]

    def _mask(self, identifier: str) -> tuple[UInt8[Tensor, "h w"], bool]:
        """The mask, and whether the image goes with it as stored, not upright."""
        if identifier not in self.files:
            raise DatasetError(f"Dataset {self.spec.name!r}: {_unknown_image(identifier, self.files)}")
        image_file, mask_file = self.files[identifier]
        header = read_header(image_file, self.spec.name)
        stored = read_stored_mask(mask_file, self.spec.name, self.masks.colours)
        as_stored = self._lies_as_stored(image_file, mask_file, header, stored)
        values, size = stored.values, header.size
        if not as_stored:
            values = turn_upright(values, stored.tag or UPRIGHT)
            size = size[::-1] if (header.tag or UPRIGHT) > 4 else size
        if values.shape[:2] != size:
            raise DatasetError(self._size_message(image_file, mask_file, size, values.shape[:2]))
        indices = self.masks.to_indices(values, mask_file, self.spec.name)
        return torch.from_numpy(np.ascontiguousarray(indices)), as_stored

    def _lies_as_stored(self, image_file: Path, mask_file: Path, header: Header, stored: StoredMask) -> bool:
        size = (stored.values.shape[0], stored.values.shape[1])
        as_stored = masks_lie_as_stored(header.tag, stored.tag, header.size, size, self.orientation)
        if as_stored is None:
            of_image = header.tag not in {None, UPRIGHT}
            turned, other = (image_file, mask_file) if of_image else (mask_file, image_file)
            raise DatasetError(
                f"{turned} of dataset {self.spec.name!r} has an EXIF orientation "
                f"({header.tag if of_image else stored.tag}) and {other} has none, and their sizes do "
                "not tell which belongs to which. Say it in dataset.yaml: "
                "'orientation: apply' if masks were drawn on the upright images, as viewers show them (the usual "
                "case), or 'orientation: ignore' if they were drawn on the pixels as stored."
            )
        return as_stored

    def _size_message(
        self, image_file: Path, mask_file: Path, image_size: tuple[int, ...], mask_size: tuple[int, ...]
    ) -> str:
        (height, width), (rows, columns) = image_size, mask_size
        turned = (
            " Was one of them turned, by its EXIF orientation or otherwise?" if mask_size == (width, height) else ""
        )
        return (
            f"Expected image and mask of dataset {self.spec.name!r} to have the same size, but {image_file} is "
            f"{width} x {height} and {mask_file} is {columns} x {rows} (width x height).{turned}"
        )


def _make_split(description: Description, name: str, files: Files) -> Split:
    reader = FolderReader(description.spec, description.masks, description.orientation, files)
    content = FileContents({identifier: image for identifier, (image, _) in files.items()})
    return Split(description.spec, name, tuple(files), reader, reader.mask, content)


def _find_splits(root: Path, dataset: str) -> tuple[Files, Files, str]:
    """Files of the training and of the test split, and what the folder calls the latter."""
    divided = (root / "train").is_dir()
    whole = (root / "images").is_dir()
    named = os.path.lexists(root / SPLITS_FILE)  # a link to nothing is a fault, and no reason to divide otherwise
    if divided and (whole or named):
        other = "images/" if whole else SPLITS_FILE
        raise DatasetError(f"{root} has both train/ and {other}, so its splits are not clear. Move one of them away.")
    if whole:
        files = pair_up(root, dataset)
        names = _read_splits(root / SPLITS_FILE, files) if named else _divide(root, files)
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
    return pair_up(root / "train", dataset), pair_up(root / test_name, dataset), test_name


def _divide(root: Path, files: Files) -> tuple[list[str], list[str]]:
    if len(files) < 2:
        raise DatasetError(f"Expected at least 2 images in {root} to divide into train and test, but got {len(files)}.")
    # A hash of the name, unlike a shuffle, leaves nearly every image in its split when others are added later.
    order = sorted(files, key=lambda stem: hashlib.sha256(f"{_SPLIT_SEED}:{stem}".encode()).digest())
    held = set(order[: max(1, round(TEST_FRACTION * len(files)))])
    return [stem for stem in files if stem not in held], [stem for stem in files if stem in held]


def _read_splits(path: Path, files: Files) -> tuple[list[str], list[str]]:
    """The splits that a ``splits.yaml`` names, by stem or by image file name; images not named are left out."""
    content = read_yaml_file(path, DatasetError, as_text=True)
    if not isinstance(content, dict) or set(content) != {"train", "test"}:
        raise DatasetError(f"{path}: expected the keys 'train' and 'test', each with a list of image names.")
    known = {stem: stem for stem in files} | {image.name: stem for stem, (image, _) in files.items()}
    train, test = (_named_images(path, key, content[key], known) for key in ("train", "test"))
    shared = sorted(set(train) & set(test))
    if shared:
        raise DatasetError(f"{path}: {len(shared)} image(s) are in both splits: {', '.join(shared[:SHOWN])}.")
    return train, test


def _named_images(path: Path, key: str, names: object, known: Mapping[str, str]) -> list[str]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DatasetError(f"{path}: key {key!r}: expected a list of at least one image name.")
    plain = [unicodedata.normalize("NFC", name) for name in names]
    for name in plain:
        if name not in known:
            raise DatasetError(f"{path}: key {key!r}: {_unknown_image(name, known)}")
    stems = [known[name] for name in plain]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise DatasetError(f"{path}: key {key!r}: image {twice!r} is named twice.")
    return sorted(stems)


def _unknown_image(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)  # not all known names: there may be thousands
    return f"There is no image {name!r}." + (f" Did you mean {close[0]!r}?" if close else "")


def _compare_counts(description: Description, found: Mapping[str, int]) -> None:
    for name, count in found.items():
        stated = description.counts.get(name, count)
        if stated != count:
            warnings.warn(
                f"{description.path} states {stated} images in {name}, but {count} are there: a partial copy?",
                stacklevel=3,
            )
