"""A copy of a dataset folder that is read faster: its PNG files are stored, everything else is as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from muster.data.content import prefix_of_bytes
from muster.data.stored_png import stored
from muster.errors import DatasetError
from muster.files import atomic_write, is_partial


@dataclass(frozen=True)
class Conversion:
    """What was done.

    Attributes:
        converted: PNG files that are stored now.
        kept: Files that are as they were.
        there: Files that a run before had made.
        bytes_before: Size of the files that were converted.
        bytes_after: Their size now.
    """

    converted: int = 0
    kept: int = 0
    there: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def __add__(self, other: Conversion) -> Conversion:
        return Conversion(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


def convert_folder(
    folder: Path, output: Path, threads: int, progress: Callable[[int, int], None] | None = None
) -> Conversion:
    """Write a copy of a folder with stored PNG files. What is there already is not made again.

    Args:
        folder: The dataset, which is only read. Links to folders are followed.
        output: Folder of the copy. Other files are hard links to the originals where the file system allows it.
        threads: How many files are converted at a time.
        progress: Called after each file with the number done and the number of all.

    Returns:
        What was done.

    Raises:
        DatasetError: If a file cannot be read.
    """
    files, done = list(_files(folder)), Conversion()
    with ThreadPoolExecutor(threads) as pool:
        each = pool.map(lambda file: _convert(file, output / file.relative_to(folder)), files)
        for count, result in enumerate(each, start=1):
            done += result
            if progress is not None:
                progress(count, len(files))
    return done


def _files(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()  # a link back
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(place) / name for name in sorted(names))


def _convert(file: Path, target: Path) -> Conversion:
    if target.exists():
        return Conversion(there=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    made = None
    if file.suffix.lower() == ".png":
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DatasetError(f"{file} cannot be read: {error.strerror}.") from error
        made = stored(content, prefix_of_bytes(content), str(file))
    if made is not None:
        with atomic_write(target) as partial:
            partial.write_bytes(made)
        return Conversion(converted=1, bytes_before=len(content), bytes_after=len(made))
    if is_partial(file.name):
        return Conversion()
    try:
        os.link(file.resolve(), target)
    except OSError:  # another file system, or one without links
        with atomic_write(target) as partial:
            shutil.copyfile(file, partial)
    return Conversion(kept=1)
