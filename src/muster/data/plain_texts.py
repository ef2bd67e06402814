"""Texts without labels: a folder of files, a file with a text in each line, or a column of a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from muster.data.labelled_texts import TEXT, read_text
from muster.data.layouts.text_list import DELIMITERS
from muster.errors import DatasetError
from muster.remote import fetched

_ENDING = ".txt"


def listed_texts(place: Path, option: str) -> dict[str, str]:
    """The texts in a place.

    Args:
        place: A folder of ``.txt`` files, each a text; a ``.txt`` file with a text in each line; or a table (``.csv``,
            ``.tsv``) with a column ``text``.
        option: What named it, for messages.

    Returns:
        Texts by where they are.

    Raises:
        DatasetError: If it is none of these, or holds no text.
    """
    place = fetched(place, DatasetError)
    if not place.exists() or not (place.is_dir() or place.suffix.lower() in {_ENDING, *DELIMITERS}):
        raise DatasetError(
            f"{option}: {place} holds no texts. Give a folder of {_ENDING} files, a {_ENDING} file with a text in each "
            f"line, or a table ({', '.join(DELIMITERS)}) with a column {TEXT}."
        )
    found = {where: text for where, text in _texts(place, option) if text.strip()}
    if not found:
        raise DatasetError(f"{option}: there is no text in {place}.")
    return found


def _texts(place: Path, option: str) -> Iterator[tuple[str, str]]:
    if place.is_dir():
        for path in sorted(place.rglob(f"*{_ENDING}")):
            yield str(path), read_text(path)
        return
    content = read_text(place)
    if place.suffix.lower() == _ENDING:
        for number, line in enumerate(content.splitlines(), start=1):
            yield f"{place}, line {number}", line
        return
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=DELIMITERS[place.suffix.lower()])
    if TEXT not in (reader.fieldnames or ()):
        raise DatasetError(f"{option}: {place} has no column {TEXT} in its first line.")
    for cells in reader:
        yield f"{place}, line {reader.line_num}", cells[TEXT] or ""
