"""What is known of datasets as they were published: one YAML file each, in the folder ``specs``.

A file says what a ``dataset.yaml`` would say if the publisher had written one, under which layout it lies, and what
tells it from other datasets of that layout. Another dataset in a known layout is another file, and no code; it may lie
anywhere, too.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from muster.errors import DatasetError, unknown_name
from muster.expected import find_misfit
from muster.user_files import read_yaml_file

FOLDER = Path(__file__).parent / "specs"
"""Where the files lie."""

ENDING = ".yaml"
_PROBE_IMAGES = 150
_LARGEST = 100_000  # rows or columns


@dataclass(frozen=True)
class Published:
    """One published dataset.

    Attributes:
        path: The file that says all this.
        name: What it is called.
        readers: The layouts under which it is read; none if muster has no task for it yet.
        told_by: Paths below its folder that tell it from other datasets of these layouts: all of them are there.
            Without any it is read only where somebody names it.
        domain: Its visual domain.
        num_classes: How many classes it has.
        counts: How many images ``train`` and ``test`` have.
        source: Where it is to be had.
        get: Which files to get there, and where to put them.
        licence: Its terms.
        citation: What to cite.
        task: What it is for.
        dataset: What a ``dataset.yaml`` would say of masks, images and splits, by the same keys.
        class_note: How the number of classes is reached, where the public list has another.
        split_note: Where the splits are from.
        paper_counts: How many images papers say that it has, where that is another number.
        input_size: Rows and columns to which images are resized for training and evaluation.
        crop_size: Rows and columns of a training crop.
        statistics: ``mean`` and ``std`` of red, green and blue on the scale of 0 to 1.
        taken_from: Where single facts are from, by the keys of this file; ``chosen`` for what nobody published.
        checked: Which second source says the same, by the keys of this file: a repository and a path, or a page.
        unverified: For which of them none was found.
    """

    path: Path
    name: str
    readers: tuple[str, ...]
    told_by: tuple[str, ...]
    domain: str
    num_classes: int
    counts: dict[str, int]
    source: str
    get: str
    licence: str
    citation: str
    task: str = "classification"
    dataset: dict[str, Any] = field(default_factory=dict)
    class_note: str = ""
    split_note: str = ""
    paper_counts: dict[str, int] = field(default_factory=dict)
    input_size: tuple[int, int] | None = None
    crop_size: tuple[int, int] | None = None
    statistics: dict[str, tuple[float, ...]] = field(default_factory=dict)
    taken_from: dict[str, str] = field(default_factory=dict)
    checked: dict[str, str] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What the file is called, and the dataset in references such as ``FOLDER:cityscapes33``."""
        return self.path.stem

    @property
    def probe_images(self) -> int:
        """How many of its training images a selection looks at."""
        return int(self.dataset.get("probe_images", _PROBE_IMAGES))

    @property
    def known(self) -> dict[str, Any]:
        """What it says by the keys of ``dataset.yaml``."""
        return {key: getattr(self, key) for key in ("name", "domain", "source", "licence", "citation")} | self.dataset

    @property
    def official(self) -> dict[str, int]:
        """Numbers of ``classes``, and of images of ``train`` and ``test``."""
        return {"classes": self.num_classes, **self.counts}

    def missing(self, found: Mapping[str, int]) -> list[str]:
        """What a copy has not as many of as were published, or more; nothing for a whole copy.

        Args:
            found: What it has, by some of the keys of :attr:`official`.
        """
        told = {key: count for key, count in self.official.items() if key in found}
        return [f"{found[key]} of {count} ({key})" for key, count in told.items() if found[key] != count]

    def how_it_differs(self, copy: str, found: Mapping[str, int]) -> str:
        """In what a copy is not as large as was published, as sentences; empty for a whole copy.

        Args:
            copy: What the sentences call it.
            found: See :meth:`missing`.
        """
        if not (odd := self.missing(found)):
            return ""
        doubt = (
            " (No second source was found for these numbers: they may be wrong.)" if "counts" in self.unverified else ""
        )
        return f"{copy} is not the whole of {self.name}: it has {', '.join(odd)}.{doubt} {self.to_be_had}"

    @property
    def to_be_had(self) -> str:
        """Where to get it, as a sentence."""
        return f"{self.name} is to be had at {self.source}: {self.get}."

    def tells(self, root: Path) -> bool:
        """Whether a folder looks like a copy of it.

        Args:
            root: The folder.
        """
        return bool(self.told_by) and all(os.path.lexists(root / path) for path in self.told_by)


@lru_cache(maxsize=1)
def all_published() -> tuple[Published, ...]:
    """All that is known, in the order of the names of the files.

    Raises:
        DatasetError: If a file does not say what it should.
    """
    return tuple(read_published(path) for path in sorted(FOLDER.glob(f"*{ENDING}")))


def published_named(key: str) -> Published:
    """What is known of a dataset; no copy of it is needed.

    Args:
        key: What its file is called, such as ``ade20k``.

    Raises:
        DatasetError: If nothing is known of it, with near matches.
    """
    known = {each.key: each for each in all_published()}
    if key not in known:
        raise DatasetError(unknown_name("published dataset", key, known))
    return known[key]


def published_of(spec: str, folder: Path) -> Published:
    """What a file of facts says that somebody names.

    Args:
        spec: What a known one is called; or the path of another, which ends in ``.yaml``.
        folder: Where relative paths start from.

    Raises:
        DatasetError: If there is none, or the file does not say what it should.
    """
    return read_published(folder / Path(spec).expanduser()) if spec.endswith(ENDING) else published_named(spec)


def read_published(path: Path) -> Published:
    """Read one of the files.

    Args:
        path: The file.

    Raises:
        DatasetError: If a key is missing or unknown, a value has the wrong type, or two of them contradict each other.
    """
    content, kinds = read_yaml_file(path, DatasetError), get_type_hints(Published)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected keys with values, but got {content!r}.")
    needed = [each.name for each in fields(Published) if each.default is each.default_factory is MISSING]
    if missing := [key for key in needed if key not in {"path", *content}]:
        raise DatasetError(f"{path}: missing {', '.join(missing)}.")
    for key, value in content.items():
        if key not in kinds or key == "path":
            raise DatasetError(f"{path}: {unknown_name('key', str(key), sorted(set(kinds) - {'path'}))}")
        if misfit := find_misfit(key, value, kinds[key]):
            raise DatasetError(f"{path}: {misfit.sentence}")
    values: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in content.items()}
    values["statistics"] = {key: tuple(each) for key, each in content.get("statistics", {}).items()}
    published = Published(path=path, **values)
    _require_sound(published)
    return published


def _require_sound(published: Published) -> None:
    """Refuse facts that contradict each other."""
    path, classes = published.path, published.dataset.get("classes")
    if set(published.counts) != {"train", "test"}:
        raise DatasetError(f"{path}: counts: expected train and test, but got {', '.join(published.counts)}.")
    if isinstance(classes, Sequence):
        kept = len(classes) - len(published.dataset.get("ignore_classes", ()))
        if kept != published.num_classes:
            raise DatasetError(f"{path}: num_classes is {published.num_classes}, but {kept} classes are named.")
    if published.statistics and set(published.statistics) != {"mean", "std"}:
        raise DatasetError(f"{path}: statistics: expected mean and std, but got {', '.join(published.statistics)}.")
    for key in ("input_size", "crop_size"):
        size = getattr(published, key)
        if size is not None and not all(0 < side < _LARGEST for side in size):
            raise DatasetError(f"{path}: {key}: expected rows and columns, but got {list(size)}.")
    for key in (*published.taken_from, *published.checked, *published.unverified):
        if not hasattr(published, key) and key not in published.dataset:
            raise DatasetError(f"{path}: taken_from, checked or unverified name {key}, which is no key of this file.")
    if both := set(published.checked) & set(published.unverified):
        raise DatasetError(f"{path}: {', '.join(sorted(both))}: expected under checked or unverified, but got both.")


def compare_published(published: Published, root: Path, found: Mapping[str, int]) -> None:
    """Tell if a copy of a published dataset has other numbers than it was published with.

    Args:
        published: The dataset.
        root: Where the copy lies.
        found: Its numbers of ``classes``, and of images of ``train`` and ``test``.

    Warns:
        UserWarning: If one differs.
    """
    if told := published.how_it_differs(str(root), found):
        warnings.warn(told, stacklevel=4)
