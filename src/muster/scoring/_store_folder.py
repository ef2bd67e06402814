"""The files in a store's folder; see :class:`muster.scoring.prediction_store.OnDiskStore`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from muster.arrays import NumpyArray
from muster.errors import SelectionError

FORMAT_VERSION = 1
"""Of the folder; raise it when its layout changes."""

HEADER, LABELS, ORDER = "store.yaml", "labels.npy", "order.npy"
"""What belongs to all members."""


@dataclass(frozen=True)
class Header:
    """What is in a folder."""

    num_members: int
    num_pixels: int
    num_classes: int
    dtype: str
    chunk_pixels: int


def predictions_file(folder: Path, member: int) -> Path:
    """All predictions of one member, ``[pixels, classes]`` in the store's order."""
    return folder / f"{member:05}.predictions"


def true_class_file(folder: Path, member: int) -> Path:
    """What it gives to the true classes, ``[pixels]``."""
    return folder / f"{member:05}.true_class"


def load_array(path: Path) -> NumpyArray:
    """Read a small array.

    Raises:
        SelectionError: If it is missing or damaged.
    """
    try:
        loaded: NumpyArray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise SelectionError(f"{path} cannot be read ({problem}). Write the store anew.") from problem
    return loaded


def require_size(path: Path, size: int) -> None:
    """Check that a file is there as a whole.

    Raises:
        SelectionError: If it has another number of bytes.
    """
    found = path.stat().st_size if path.exists() else 0
    if found != size:
        raise SelectionError(f"{path}: expected {size} bytes, but found {found}. Write the store anew.")


def fill(path: Path, offset: int, into: NumpyArray) -> None:
    """Read as many bytes as an array holds, from a place in a file.

    Raises:
        SelectionError: If there are fewer, or the file cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            left = memoryview(into.reshape(-1).view(np.uint8).data)
            while len(left):
                count = file.readinto(left)
                if not count:
                    raise SelectionError(f"{path} ends too early. Write the store anew.")
                left = left[count:]
    except OSError as problem:
        raise SelectionError(f"{path} cannot be read ({problem.strerror}).") from problem
