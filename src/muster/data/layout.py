"""A layout: how a dataset lies on disk. Each is a file of :mod:`muster.data.layouts` that reads what it recognises."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from muster.data.dataset_yaml import DESCRIPTION_FILE, Heading, read_heading, with_published
from muster.data.published import Published, all_published, compare_published
from muster.data.spec import Dataset
from muster.data.tiles import whole_images
from muster.errors import DatasetError
from muster.registry import Registry

DEFAULT = "images_and_masks"
"""The layout that a folder is taken for if no other recognises it: its errors say how a folder has to look."""


class Layout(ABC):
    """What one file of :mod:`muster.data.layouts` offers.

    Attributes:
        is_general: Whether only a description can name it, and never the looks of a folder.
    """

    is_general: bool = False

    @abstractmethod
    def recognises(self, folder: Path) -> bool:
        """Whether a folder looks like this, told by a few names in it; nothing is read."""

    @abstractmethod
    def open(self, heading: Heading, reference: str) -> Dataset:
        """Open a dataset; nothing is ever written into its folder.

        Args:
            heading: Where it lies, and what is known before any image is listed.
            reference: What it is to be called in records.

        Returns:
            The dataset; images are read when asked for.

        Raises:
            DatasetError: If something is missing or does not go together, with what was expected.
        """

    def place(self, root: Path) -> Path:
        """Where the files begin that tell which published dataset a folder is a copy of.

        Args:
            root: The folder.
        """
        return root


LAYOUTS: Registry[Layout] = Registry("layout", "muster.data.layouts", DatasetError)
"""All layouts; a file in :mod:`muster.data.layouts` adds its own."""


def open_folder(path: Path, reference: str | None = None, reader: str = "", spec: str = "") -> Dataset:
    """Open a dataset folder of any layout.

    Args:
        path: The folder.
        reference: What the dataset is to be called in records; the path, by default.
        reader: Name of the layout; by default what ``dataset.yaml`` says, or what the folder looks like.
        spec: The published dataset that it is a copy of, see :func:`muster.data.published.published_of`; by default
            what ``dataset.yaml`` says, or the one that it looks like.

    Returns:
        The dataset; images are read when asked for.

    Raises:
        DatasetError: If there is no such layout, if two layouts recognise the folder, or if the one that does cannot
            open it.

    Warns:
        UserWarning: If it is a copy of a published dataset with other numbers of images or classes.
    """
    name, heading = look_at(path, reader, spec)
    layout, published = LAYOUTS[name], heading.published
    try:
        dataset = layout.open(heading, str(path) if reference is None else reference)
    except DatasetError as error:
        if published is None or published.source in str(error):
            raise
        raise DatasetError(f"{error} ({published.to_be_had})") from error
    if published is None:
        return dataset
    found = (
        {} if "splits" in heading.own else {split.name: whole_images(split) for split in (dataset.train, dataset.test)}
    )
    if not heading.own & _CLASS_KEYS:
        found["classes"] = dataset.spec.num_classes
    compare_published(published, heading.root, found)
    return replace(dataset, published=published)


def name_layout(path: Path) -> str:
    """The layout of a folder.

    Args:
        path: The folder.

    Returns:
        What its ``dataset.yaml`` says, or what it looks like.

    Raises:
        DatasetError: If ``dataset.yaml`` names none that is known, or two layouts recognise the folder.
    """
    return look_at(path)[0]


def look_at(path: Path, reader: str = "", spec: str = "") -> tuple[str, Heading]:
    """The layout of a folder, and which published dataset it is a copy of.

    Args:
        path: The folder.
        reader: See :func:`open_folder`.
        spec: Likewise.

    Returns:
        Name of the layout; and where the folder lies, with what was published, if it is a copy of something known.

    Raises:
        DatasetError: As :func:`name_layout`; or if nothing is known of ``spec``, or it is not read in this layout.
    """
    heading = read_heading(path, spec)
    if heading.reader and not reader:
        try:
            LAYOUTS[heading.reader]
        except DatasetError as error:
            raise DatasetError(f"{path / DESCRIPTION_FILE}: key 'reader': {error}") from None
    named, published = reader or heading.reader, heading.published
    if published is not None:
        return _reader_of(published, heading, named), heading
    found = [named] if named else _recognised(heading.root)
    if len(found) > 1:
        raise DatasetError(
            f"{path} looks like {' and like '.join(found)}. Say which is meant in its {DESCRIPTION_FILE}, e.g. "
            f"'reader: {found[0]}', or put each dataset into a folder of its own."
        )
    # A general layout is never recognised: what tells a published dataset tells that it lies so.
    meant = _told(heading.root, found) or ([] if named else _told(heading.root, _general()))
    if meant:
        best = max(meant, key=lambda each: len(each.told_by))
        return _reader_of(best, heading, found[0] if found and found[0] in best.readers else ""), with_published(
            heading, best
        )
    if not found and not os.path.lexists(path / DESCRIPTION_FILE):
        for each in all_published():
            if not each.readers and each.tells(heading.root):
                _reader_of(each, heading, "")
        _point_below(path)
    return found[0] if found else DEFAULT, heading


_CLASS_KEYS = frozenset({"classes", "mask_values", "colour_map", "ignore_classes"})
"""Keys of ``dataset.yaml`` with which a copy has other classes than were published."""


def _general() -> list[str]:
    return [name for name in LAYOUTS.names() if LAYOUTS[name].is_general]


def _told(root: Path, readers: Sequence[str]) -> list[Published]:
    """Published datasets that a folder looks like, if it is read in one of these layouts."""
    places = {reader: LAYOUTS[reader].place(root) for reader in readers}
    return [
        each for each in all_published() if any(each.tells(places[name]) for name in each.readers if name in places)
    ]


def _reader_of(published: Published, heading: Heading, named: str) -> str:
    """Under which of its layouts a copy lies."""
    readers, whose = published.readers, f"{heading.root}: {published.name} ({published.path.name})"
    if not readers:
        raise DatasetError(
            f"{whose} is not read so far: there is no reader for its task, {published.task}, yet. Its facts are known."
        )
    if named and named not in readers:
        raise DatasetError(f"{whose} is read as {' or '.join(readers)}, not as {named}.")
    there = [name for name in readers if LAYOUTS[name].recognises(heading.root)]
    return named or (there or list(readers))[0]


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
