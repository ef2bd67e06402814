r"""AG News, and the other collections of Zhang et al. (2015): lists without names of columns, classes by number.

::

    ag_news_csv/
      classes.txt               a name of a class in each line
      train.csv                 "3","title","description": the number of the class, from 1, and parts of the text
      test.csv

The parts of a text are joined by a space. ``\n`` within them stands for the end of a line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from muster.data.dataset_yaml import Heading
from muster.data.labelled_texts import TextRow, dataset_of_rows, read_text
from muster.data.layout import LAYOUTS, Layout
from muster.data.published_images import describe
from muster.data.spec import Dataset
from muster.data.text_lists import text_lines
from muster.errors import DatasetError
from muster.user_files import open_regular

_NAMES = "classes.txt"


class NumberedCsv(Layout):
    """Lists with the number of a class in front."""

    def recognises(self, folder: Path) -> bool:
        """By the names of the classes, and a list that begins with a number in quotes."""
        if not (folder / _NAMES).is_file():
            return False
        try:
            with open_regular(folder / "train.csv") as file:
                return re.match(rb'"\d+","', file.read(20)) is not None
        except OSError:
            return False

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the numbers of the rows."""
        root = heading.root
        names = [line.strip() for line in text_lines(root / _NAMES, "The list") if line.strip()]
        description = describe(heading, names, f"{_NAMES} says", keys=())
        lists = {
            split: (path, list(_rows(path, names))) for split in ("train", "test") for path in [root / f"{split}.csv"]
        }
        return dataset_of_rows(description, lists, "", reference)


def _rows(path: Path, names: Sequence[str]) -> Iterator[TextRow]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            if len(cells) < 2 or not cells[0].isascii() or not cells[0].isdigit():
                raise DatasetError(f"{place}: expected the number of a class and a text, but got {','.join(cells)!r}.")
            if not 1 <= int(cells[0]) <= len(names):
                raise DatasetError(f"{place}: expected a class from 1 to {len(names)} ({_NAMES}), but got {cells[0]}.")
            text = " ".join(cell.replace("\\n", "\n").strip() for cell in cells[1:] if cell.strip())
            yield TextRow(place, text, names[int(cells[0]) - 1])
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num + 1}: {error}. Is the download complete?") from error


LAYOUTS.add("numbered_csv", NumberedCsv())
