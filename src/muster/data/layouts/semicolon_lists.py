"""CARER (the emotions of tweets) as text files: a text, a semicolon and its class in each line.

::

    emotions/
      train.txt                 i feel like i am still waiting;sadness
      test.txt
      val.txt                   (not used, unless there is no test.txt)

The classes are the names in ``train.txt``, in the order of their code points, unless ``dataset.yaml`` says another.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from muster.data.dataset_yaml import Heading, read_description
from muster.data.labelled_texts import TextRow, dataset_of_rows
from muster.data.layout import LAYOUTS, Layout
from muster.data.spec import Dataset
from muster.data.text_lists import text_lines
from muster.errors import DatasetError
from muster.user_files import open_regular


class SemicolonLists(Layout):
    """``train.txt`` and ``test.txt``."""

    def recognises(self, folder: Path) -> bool:
        """By ``train.txt``, if its first line ends with a semicolon and a word."""
        try:
            with open_regular(folder / "train.txt") as file:
                line = file.readline(10_000).decode("utf-8-sig", "replace").strip()
        except OSError:
            return False
        text, mark, label = line.rpartition(";")
        return bool(mark and text.strip() and label.strip().replace("_", "").isalnum())

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the numbers of the lines."""
        root = heading.root
        test = next((root / name for name in ("test.txt", "val.txt") if (root / name).is_file()), None)
        places = {"train": root / "train.txt"} | ({} if test is None else {"test": test})
        lists = {split: (path, list(_rows(path))) for split, path in places.items()}
        known = {**heading.unsaid, "classes": sorted({row.label for row in lists["train"][1]})}
        description = read_description(heading, known, keys=(), whole_images=True)
        return dataset_of_rows(description, lists, "A list of texts", reference)


def _rows(path: Path) -> Iterator[TextRow]:
    for number, line in enumerate(text_lines(path, "The list"), start=1):
        if not line.strip():
            continue
        text, mark, label = line.rpartition(";")
        if not mark or not text.strip() or not label.strip():
            raise DatasetError(f"{path}, line {number}: expected a text, a semicolon and its class, but got {line!r}.")
        yield TextRow(f"{path}, line {number}", text.strip(), label.strip())


LAYOUTS.add("semicolon_lists", SemicolonLists())
