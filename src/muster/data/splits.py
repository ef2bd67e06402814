"""Which images are for training and which for testing, where a dataset has no official test split or lists of names.

A split of a dataset is told by identifiers; nothing is ever written into its folder.
"""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from muster.data.dataset_yaml import Description
from muster.data.pairing import SHOWN
from muster.data.sequences import take_sequences
from muster.errors import DatasetError
from muster.user_files import read_yaml_file

SPLITS_FILE = "splits.yaml"
TEST_FRACTION = 0.2
"""Share of the images that become the test split where there is none."""

_SPLIT_SEED = 0


def divide(root: Path, identifiers: Collection[str], sequences: str = "") -> tuple[list[str], list[str]]:
    """Hold out a fifth of the images for testing, the same ones wherever the dataset lies.

    Args:
        root: Folder of the dataset, for the message of an error.
        identifiers: All images.
        sequences: Tells which images belong together: whole sequences are held out then, see
            :func:`muster.data.sequences.take_sequences`.

    Returns:
        Training and test images, each in the order of all; :func:`muster.data.split_record` keeps them beside a run.

    Raises:
        DatasetError: If there are fewer than two images, or all are of one sequence.
    """
    if len(identifiers) < 2:
        raise DatasetError(
            f"Expected at least 2 images in {root} to divide into train and test, but got {len(identifiers)}."
        )
    wanted = max(1, round(TEST_FRACTION * len(identifiers)))
    held = take_sequences(identifiers, sequences, wanted, _hashed) if sequences else set(_hashed(identifiers)[:wanted])
    if not held:
        raise DatasetError(
            f"Expected at least 2 sequences of images in {root} to divide into train and test, but all images "
            "are of one."
        )
    return [name for name in identifiers if name not in held], [name for name in identifiers if name in held]


def _hashed(names: Iterable[str]) -> list[str]:
    # A hash of the name, unlike a shuffle, leaves nearly every image in its split when others are added later.
    return sorted(names, key=lambda name: hashlib.sha256(f"{_SPLIT_SEED}:{name}".encode()).digest())


def divide_aloud(description: Description, layout: str, identifiers: Collection[str]) -> tuple[list[str], list[str]]:
    """:func:`divide`, told to whoever did not ask for it.

    Args:
        description: Of the dataset; it may ask for it with ``splits: seeded``.
        layout: What has no test split, for the message.
        identifiers: All images.

    Returns:
        As :func:`divide`.

    Raises:
        DatasetError: As :func:`divide`.

    Warns:
        UserWarning: If it was not asked for, how many images are held out and where they are recorded.
    """
    train, test = divide(description.root, identifiers, description.spec.sequences)
    if not description.test_is_seeded:
        warnings.warn(
            f"{layout} in {description.root} has no test split with labels: {len(test)} of the {len(identifiers)} "
            f"images, chosen by a hash of their names, are the test split; {SPLITS_FILE} beside the results says "
            "which. ('splits: seeded' in dataset.yaml says the same without this warning.)",
            stacklevel=3,
        )
    return train, test


def read_splits(path: Path, files: Mapping[str, tuple[Path, Path]]) -> tuple[list[str], list[str]]:
    """The splits that a ``splits.yaml`` names, by stem or by image file name; images not named are left out.

    Args:
        path: The file.
        files: Image and mask of each identifier.

    Returns:
        Training and test images.

    Raises:
        DatasetError: If it is no such file, names an unknown image, or one image twice.
    """
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
            raise DatasetError(f"{path}: key {key!r}: {unknown_image(name, known)}")
    stems = [known[name] for name in plain]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise DatasetError(f"{path}: key {key!r}: image {twice!r} is named twice.")
    return sorted(stems)


def unknown_image(name: str, known: Iterable[str]) -> str:
    """A sentence for an image that is not there, with the nearest that is."""
    close = get_close_matches(name, list(known), n=1)  # not all known names: there may be thousands
    return f"There is no image {name!r}." + (f" Did you mean {close[0]!r}?" if close else "")


def compare_counts(description: Description, found: Mapping[str, int]) -> None:
    """Tell if a description states other numbers of images than there are.

    Args:
        description: It may state some.
        found: Number of images by split.

    Warns:
        UserWarning: If one differs.
    """
    for name, count in found.items():
        stated = description.counts.get(name, count)
        if stated != count:
            warnings.warn(
                f"{description.path} states {stated} images in {name}, but {count} are there: a partial copy?",
                stacklevel=3,
            )
