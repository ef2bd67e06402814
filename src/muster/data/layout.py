"""A layout: how a dataset lies on disk. Each is a file of :mod:`muster.data.layouts` that reads what it recognises."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path

from muster.data.dataset_yaml import DESCRIPTION_FILE, read_heading
from muster.data.published import Published, published_at
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
            folder: Where it lies, or where a ``dataset.yaml`` lies that says where (its key ``root``).
            reference: What it is to be called in records.

        Returns:
            The dataset; images are read when asked for.

        Raises:
            DatasetError: If something is missing or does not go together, with what was expected.
        """


LAYOUTS: Registry[Layout] = Registry("layout", "muster.data.layouts", DatasetError)
"""All layouts; a file in :mod:`muster.data.layouts` adds its own."""


def open_folder(path: Path, reference: str | None = None, reader: str = "") -> Dataset:
    """Open a dataset folder of any layout.

    Args:
        path: The folder.
        reference: What the dataset is to be called in records; the path, by default.
        reader: Name of the layout; by default what ``dataset.yaml`` says, or what the folder looks like.

    Returns:
        The dataset; images are read when asked for.

    Raises:
        DatasetError: If there is no such layout, if two layouts recognise the folder, or if the one that does cannot
            open it.
    """
    name = reader or name_layout(path)
    layout = LAYOUTS[name]
    try:
        return layout.open(path, str(path) if reference is None else reference)
    except DatasetError as error:
        if (published := published_copy(path, name)) is None:
            raise
        raise DatasetError(f"{error} ({published.to_be_had})") from error


def published_copy(path: Path, reader: str) -> Published | None:
    """What is known of the published dataset that a folder is a copy of.

    Args:
        path: The folder, or that of the ``dataset.yaml`` that says where it lies.
        reader: Name of its layout.

    Returns:
        ``None`` if it is none that is known.

    Raises:
        DatasetError: If its ``dataset.yaml`` cannot be read.
    """
    return published_at(reader, read_heading(path).root)


def name_layout(path: Path) -> str:
    """The layout of a folder.

    Args:
        path: The folder.

    Returns:
        What its ``dataset.yaml`` says, or what it looks like.

    Raises:
        DatasetError: If ``dataset.yaml`` names none that is known, or two layouts recognise the folder.
    """
    heading = read_heading(path)
    if heading.reader:
        try:
            LAYOUTS[heading.reader]
        except DatasetError as error:
            raise DatasetError(f"{path / DESCRIPTION_FILE}: key 'reader': {error}") from None
        return heading.reader
    found = _recognised(heading.root)
    if len(found) > 1:
        raise DatasetError(
            f"{path} looks like {' and like '.join(found)}. Say which is meant in its {DESCRIPTION_FILE}, e.g. "
            f"'reader: {found[0]}', or put each dataset into a folder of its own."
        )
    if not found and not os.path.lexists(path / DESCRIPTION_FILE):
        _point_below(path)
    return found[0] if found else DEFAULT


def _recognised(folder: Path) -> list[str]:
    return [name for name in LAYOUTS.names() if LAYOUTS[name].recognises(folder)]


def _point_below(path: Path) -> None:
    """Raise an error if a folder just below is one, as in archives that unpack to a folder in a folder."""
    try:
        inside = sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError:
        return
    meant = [f"{entry} ({found[0]})" for entry in inside[:50] if (found := _recognised(entry)) and found != [DEFAULT]]
    if meant:
        raise DatasetError(
            f"{path} is no dataset folder, but there is one in it; did you mean {' or '.join(meant[:3])}?"
        )
