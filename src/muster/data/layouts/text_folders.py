"""Text classification: a folder of text files for each class, as the Large Movie Review Dataset (IMDB) has them.

::

    mydata/
      dataset.yaml              (optional)
      train/pos/0_9.txt
      train/neg/1_1.txt
      test/pos/0_10.txt         (or val/)
      test/neg/1_3.txt

The classes are the names of the folders below ``train``, in the order of their code points, unless ``dataset.yaml``
names them in another order. A folder ``unsup``, of texts without a class, is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from muster.data.dataset_yaml import Heading, read_description
from muster.data.labelled_texts import FileTexts, divided, of_texts
from muster.data.layout import LAYOUTS, Layout
from muster.data.spec import Dataset
from muster.errors import DatasetError, unknown_name

WITHOUT_CLASS = "unsup"
"""The folder of texts without a class."""

_ENDING = ".txt"
_TITLE = "Folders of texts"
_LOOKED_AT = 20
"""Entries of a class's folder that are looked at to recognise the layout."""


class TextFolders(Layout):
    """``train/CLASS/TEXT.txt`` and ``test/CLASS/TEXT.txt``."""

    def recognises(self, folder: Path) -> bool:
        """By at least two folders below ``train`` with text files in them."""
        names = _folders(folder / "train")
        return len(names) > 1 and all(_begins_with_texts(folder / "train" / name) for name in names[:3])

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are paths below the folder of the split, without their ending."""
        known = {**heading.unsaid, "classes": _folders(heading.root / "train")}
        description = read_description(heading, known, keys=(), whole_images=True)
        root, spec = description.root, of_texts(description.spec)
        test = next((name for name in ("test", "val") if (root / name).is_dir()), None)
        places = {"train": "train"} | ({} if test is None else {"test": test})
        found = {split: _files(root / place, spec.classes) for split, place in places.items()}
        sources = {split: FileTexts({name: path for name, (path, _) in each.items()}) for split, each in found.items()}
        labels = {split: {name: label for name, (_, label) in each.items()} for split, each in found.items()}
        return divided(description, spec, sources, labels, _TITLE, reference)


def _folders(folder: Path) -> list[str]:
    """Names of the folders of classes in a folder, in order; none if it is no folder."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
    return [name for name in names if name != WITHOUT_CLASS]


def _begins_with_texts(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(_ENDING) for _, entry in zip(range(_LOOKED_AT), entries, strict=False))


def _files(folder: Path, classes: tuple[str, ...]) -> Mapping[str, tuple[Path, int]]:
    """File and class of each text by identifier, class by class."""
    if odd := sorted(set(_folders(folder)) - set(classes)):
        raise DatasetError(f"{folder}: {unknown_name('class', odd[0], classes)}")
    files = {
        path.relative_to(folder).with_suffix("").as_posix(): (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).rglob(f"*{_ENDING}"))
    }
    if not files:
        raise DatasetError(f"{folder} has no texts: expected {_ENDING} files in a folder for each class.")
    return files


LAYOUTS.add("text_folders", TextFolders())
