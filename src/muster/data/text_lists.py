"""Text files with one item a line, as many archives have them beside their images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from muster.errors import DatasetError
from muster.user_files import open_regular


def text_lines(path: Path, called: str, advice: str = "") -> list[str]:
    """The lines of a text file.

    Args:
        path: The file, in UTF-8.
        called: What messages call it.
        advice: What to do if it cannot be read; it ends the sentence.

    Raises:
        DatasetError: If it cannot be read, or is not in UTF-8.
    """
    try:
        with open_regular(path) as file:
            return file.read().decode("utf-8-sig").splitlines()
    except OSError as error:
        raise DatasetError(f"{called} {path} cannot be read: {error.strerror}.{advice}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{called} {path} is not in UTF-8: {error}. Save it in UTF-8.") from error


def lines_of(path: Path, parts: int) -> Iterator[tuple[str, list[str]]]:
    """Read the lines of a file apart at their spaces.

    Args:
        path: The file, in UTF-8.
        parts: How many parts a line has at least; the last one is the rest of the line.

    Yields:
        The file and the line, for messages, and the parts; empty lines and those that begin with ``#`` are passed over.

    Raises:
        DatasetError: If the file cannot be read, or a line has fewer parts.
    """
    for number, line in enumerate(text_lines(path, "The list", " Is the download complete?"), start=1):
        if line.strip() and not line.startswith("#"):
            found = line.split(maxsplit=parts - 1)
            if len(found) < parts:
                raise DatasetError(
                    f"{path}, line {number}: expected {parts} values with spaces between, but got {line!r}."
                )
            yield f"{path}, line {number}", [part.strip() for part in found]


def whole_number(place: str, text: str) -> int:
    """A number that a line says.

    Raises:
        DatasetError: If it is none.
    """
    if not (text.isascii() and text.isdigit()):
        raise DatasetError(f"{place}: expected a whole number, but got {text!r}.")
    return int(text)


def require_images(files: Mapping[str, Path], told: str) -> None:
    """Refuse a download with missing images.

    Args:
        files: Images by what messages call their place.
        told: The lists that name them.

    Raises:
        DatasetError: How many are missing, and the first of them.
    """
    missing = [place for place, file in files.items() if not file.is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of the {len(files)} images that {told} name are missing, e.g. {files[missing[0]]} "
            f"({missing[0]}). Unpack the archive of the images beside the lists."
        )
