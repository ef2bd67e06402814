"""Which images two sets have in common, told by the bytes of the files and not by the names.

An image's *content prefix* is the first 64 bits of the SHA-256 of its image file, as 16 hexadecimal digits. Equal
files have equal prefixes whatever they are called; two different files share one with a probability of 2^-64. A copy
that was encoded anew (another format, quality or size) has other bytes and is *not* found, unless ``muster convert``
made it (:mod:`muster.data.stored_png`).
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from muster.data.spec import Dataset, Split
from muster.data.stored_png import BEGINNING, original_of
from muster.errors import DatasetError

SKETCH_SIZE = 1024
"""How many prefixes a sketch keeps."""

_DIGITS = 16  # hexadecimal ones, of 4 bits each
_MOST_THREADS = 8
_FEWEST_FILES = 64
"""Below this, starting threads takes longer than they save."""


def prefix_of_text(text: str) -> str:
    """The content prefix of what has no file and is made from a description instead."""
    return prefix_of_bytes(text.encode())


def prefix_of_bytes(content: bytes) -> str:
    """The content prefix of an image whose file is held in another one."""
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


class FileContents:
    """Gives the content prefix of each image of a split; a file is read once, when it is first asked for."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        """Remember where the images lie.

        Args:
            files: Identifier -> image file.
        """
        self.files = files
        self._known: dict[str, str] = {}

    def __call__(self, identifier: str) -> str:
        """The content prefix of one image.

        Args:
            identifier: Its name within the split.

        Returns:
            16 hexadecimal digits.

        Raises:
            DatasetError: If the file cannot be read.
        """
        if identifier not in self._known:
            path = self.files[identifier]
            try:
                with path.open("rb") as file:
                    original = original_of(file.read(BEGINNING))
                    file.seek(0)
                    self._known[identifier] = original or hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
            except OSError as error:
                raise DatasetError(f"Image {path} cannot be read: {error.strerror}.") from error
        return self._known[identifier]


def content_prefixes(split: Split) -> tuple[str, ...]:
    """Content prefixes of the images of a split.

    Args:
        split: Any split.

    Returns:
        One for each of its identifiers, in order; none at all if the split does not know its content.

    Raises:
        DatasetError: If a file cannot be read.
    """
    if split.content is None:
        return ()
    if len(split) < _FEWEST_FILES:
        return tuple(map(split.content, split.identifiers))
    # Hashing and reading release the interpreter's lock.
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
        return tuple(threads.map(split.content, split.identifiers))


@dataclass(frozen=True)
class ContentSketch:
    """What is remembered of the images of a dataset: how many there are, and the smallest of their prefixes.

    The smallest prefixes are a random sample of the images, but the same one wherever the images are the same: two sets
    with images in common have some in common in their sketches too, where independent samples would miss each other.

    Attributes:
        dataset: Name of the dataset.
        images: Number of different images; 0 if nothing is known of them.
        prefixes: The smallest prefixes, at most :data:`SKETCH_SIZE`, ascending, with spaces between: one text, because
            a card with a list of 1024 lines takes five times as long to read.

    Source:
        A. Broder, "On the resemblance and containment of documents", 1997 (the "bottom-k" sketch).
    """

    dataset: str
    images: int
    prefixes: str

    @classmethod
    def of(cls, dataset: str, prefixes: Iterable[str]) -> ContentSketch:
        """Make the sketch of images.

        Args:
            dataset: Name of the dataset.
            prefixes: Their content prefixes; repeated ones count once.

        Returns:
            The sketch.
        """
        different = sorted(set(prefixes))
        return cls(dataset, len(different), " ".join(different[:SKETCH_SIZE]))

    def problem(self) -> str | None:
        """What is wrong with a sketch that was read from a file, or ``None``."""
        words = self.prefixes.split()
        if any(len(word) != _DIGITS or set(word) - set("0123456789abcdef") for word in words):
            return f"expected prefixes of {_DIGITS} hexadecimal digits each"
        if words != sorted(set(words)):
            return "expected ascending prefixes, each once"
        if len(words) != min(self.images, SKETCH_SIZE):
            return f"expected {min(self.images, SKETCH_SIZE)} prefixes for {self.images} images, but got {len(words)}"
        return None

    def shared_with(self, prefixes: AbstractSet[str]) -> int:
        """How many of the sketch's images are among others.

        Args:
            prefixes: Content prefixes of all the others.

        Returns:
            Their number: exact up to :data:`SKETCH_SIZE` images, estimated beyond that. Few among very many can be
            missed: out of 100 000 images, 1000 shared ones are practically always found, 100 in two cases of three.
        """
        words = self.prefixes.split()
        found = len(prefixes & set(words))
        return round(found * self.images / len(words)) if found else 0

    @property
    def is_exact(self) -> bool:
        """Whether all images are in the sketch, so that :meth:`shared_with` counts and does not estimate."""
        return self.images <= SKETCH_SIZE


def repeated_images(dataset: Dataset) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """Images that are there more than once, byte for byte.

    Args:
        dataset: Any dataset; nothing is found in one that does not know its content.

    Returns:
        Groups of equal images within one split, each as ``SPLIT/IDENTIFIER``; and pairs of a test image and the
        first training image that it equals, in the order of the test images.

    Raises:
        DatasetError: If a file cannot be read.
    """
    places: dict[str, dict[str, list[str]]] = {}
    for split in (dataset.train, dataset.test):
        for prefix, identifier in zip(content_prefixes(split), split.identifiers, strict=False):
            places.setdefault(prefix, {}).setdefault(split.name, []).append(identifier)
    within = [
        [f"{name}/{each}" for each in found] for split in places.values() for name, found in split.items() if found[1:]
    ]
    train, test = dataset.train.name, dataset.test.name
    pairs = {each: split[train][0] for split in places.values() if train in split for each in split.get(test, ())}
    across = [(each, pairs[each]) for each in dataset.test.identifiers if each in pairs]
    return within, across


def warn_of_shared_images(dataset: Dataset) -> None:
    """Compare the two splits of a dataset in full, and tell if an image is in both.

    Args:
        dataset: Any dataset; one that does not know its content is passed over.

    Warns:
        UserWarning: How many test images are identical to training images, with an example.

    Raises:
        DatasetError: If a file cannot be read.
    """
    _, shared = repeated_images(dataset)
    if shared:
        test, train = shared[0]
        warnings.warn(
            f"Dataset {dataset.spec.name!r} ({dataset.reference}): {len(shared)} of the {len(dataset.test)} test "
            f"images are also training images, byte for byte, e.g. {test!r} of the test split and {train!r} of the "
            "training split. What is measured on the test split will look better than it is. Take them out of one of "
            "the splits.",
            stacklevel=2,
        )
