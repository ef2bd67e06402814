"""TweetEval, one of its tasks: texts and their labels in files of their own, line by line.

::

    sentiment/
      mapping.txt               0<tab>negative, ...
      train_text.txt, train_labels.txt
      test_text.txt, test_labels.txt
      val_text.txt, val_labels.txt      (not used)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from muster.data.dataset_yaml import Heading
from muster.data.labelled_texts import TextRow, dataset_of_rows, read_text
from muster.data.layout import LAYOUTS, Layout
from muster.data.published_images import describe
from muster.data.spec import Dataset
from muster.data.text_lists import lines_of, whole_number
from muster.errors import DatasetError

_MAPPING = "mapping.txt"


class TweetEval(Layout):
    """Pairs of files."""

    def recognises(self, folder: Path) -> bool:
        """By the names of the classes and the texts."""
        return (folder / _MAPPING).is_file() and (folder / "train_text.txt").is_file()

    def open(self, heading: Heading, reference: str) -> Dataset:
        """See :meth:`Layout.open`; ``identifiers`` are the numbers of the lines."""
        root, names = heading.root, list[str]()
        for place, (number, name) in lines_of(root / _MAPPING, 2):
            if whole_number(place, number) != len(names):
                raise DatasetError(f"{place}: expected class {len(names)}, as classes are numbered from 0 on.")
            names.append(name)
        description = describe(heading, names, f"{_MAPPING} says", keys=())
        lists = {split: (root / f"{split}_text.txt", _rows(root, split, names)) for split in ("train", "test")}
        return dataset_of_rows(description, lists, "", reference)


def _rows(root: Path, split: str, names: Sequence[str]) -> list[TextRow]:
    texts, labels = (_lines(root / f"{split}_{part}.txt") for part in ("text", "labels"))
    if len(texts) != len(labels):
        raise DatasetError(
            f"{root}: expected as many lines in {split}_text.txt as in {split}_labels.txt, but got {len(texts)} and "
            f"{len(labels)}. Is the download complete?"
        )
    rows = []
    for number, (text, label) in enumerate(zip(texts, labels, strict=True), start=1):
        place = f"{root / f'{split}_labels.txt'}, line {number}"
        if whole_number(place, label.strip()) >= len(names):
            raise DatasetError(f"{place}: expected a class from 0 to {len(names) - 1} ({_MAPPING}), but got {label}.")
        rows.append(TextRow(place, text, names[int(label)]))
    return rows


def _lines(path: Path) -> list[str]:
    """Lines end with a line feed and nothing else: tweets have other characters that end lines."""
    return read_text(path).removesuffix("\n").replace("\r\n", "\n").split("\n")


LAYOUTS.add("tweet_eval", TweetEval())
