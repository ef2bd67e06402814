"""A layout: how a dataset lies on disk. Each is a file of :mod:`muster.data.layouts` that reads what it recognises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from muster.data.spec import Dataset
from muster.errors import DatasetError
from muster.registry import Registry

DEFAULT = "images_and_masks"
"""The layout that a folder is taken for if no other recognises it: its errors say how a folder has to look."""


class Layout(ABC):
    """What one file of :mod:`muster.data.layouts` offers."""

    @abstractmethod
    def recognises(self, folder: Path) -> bool:
        """Whether a folder looks like this, told by a few names in it; nothing is read."""

    @abstractmethod
    def open(self, folder: Path, reference: str) -> Dataset:
        """Open a dataset; nothing is ever written into its folder.

        Args:
            folder: Where it lies.
            reference: What it is to be called in records.

        Returns:
            The dataset; images are read when asked for.

        Raises:
            DatasetError: If something is missing or does not go together, with what was expected.
        """


LAYOUTS: Registry[Layout] = Registry("layout", "muster.data.layouts", DatasetError)
"""All layouts; a file in :mod:`muster.data.layouts` adds its own."""


def open_folder(path: Path, reference: str | None = None) -> Dataset:
    """Open a dataset folder of any layout.

    Args:
        path: The folder.
        reference: What the dataset is to be called in records; the path, by default.

    Returns:
        The dataset; images are read when asked for.

    Raises:
        DatasetError: If two layouts recognise the folder, or the one that does cannot open it.
    """
    found = [name for name in LAYOUTS.names() if LAYOUTS[name].recognises(path)]
    if len(found) > 1:
        raise DatasetError(f"{path} looks like {' and like '.join(found)}. Put each dataset into a folder of its own.")
    return LAYOUTS[found[0] if found else DEFAULT].open(path, str(path) if reference is None else reference)
