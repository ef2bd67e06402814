"""What is known of datasets as they were published: one YAML file each, in the folder ``specs``.

A file says what a ``dataset.yaml`` would say if the publisher had written one, under which layout it lies, and what
tells it from other datasets of that layout. Another dataset in a known layout is another file, and no code.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from muster.errors import DatasetError, unknown_name
from muster.expected import find_misfit
from muster.user_files import read_yaml_file

FOLDER = Path(__file__).parent / "specs"
"""Where the files lie."""


@dataclass(frozen=True)
class Published:
    """One published dataset.

    Attributes:
        name: What it is called.
        readers: The layouts under which it is read.
        told_by: Paths below its folder that tell it from other datasets of these layouts: all of them are there.
        domain: Its visual domain.
        num_classes: How many classes it has.
        counts: How many images ``train`` and ``test`` have.
        source: Where it is to be had.
        get: Which files to get there.
        licence: Its terms.
        citation: What to cite.
        looked_up: Where these facts were looked up, if they were.
        unverified: Which of them could not be.
    """

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
    looked_up: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    @property
    def known(self) -> dict[str, str]:
        """What it says by the keys of ``dataset.yaml``."""
        return {key: getattr(self, key) for key in ("name", "domain", "source", "licence", "citation")}

    @property
    def official(self) -> dict[str, int]:
        """Numbers of ``classes``, and of images of ``train`` and ``test``."""
        return {"classes": self.num_classes, **self.counts}

    def missing(self, found: Mapping[str, int]) -> list[str]:
        """What a copy has not as many of as were published, or more; nothing for a whole copy.

        Args:
            found: What it has, by the keys of :attr:`official`.
        """
        return [f"{found[key]} of {count} ({key})" for key, count in self.official.items() if found[key] != count]

    @property
    def to_be_had(self) -> str:
        """Where to get it, as a sentence."""
        return f"{self.name} is to be had at {self.source}: {self.get}."


@lru_cache(maxsize=1)
def all_published() -> tuple[Published, ...]:
    """All that is known, in the order of the names of the files.

    Raises:
        DatasetError: If a file does not say what it should.
    """
    return tuple(read_published(path) for path in sorted(FOLDER.glob("*.yaml")))


def read_published(path: Path) -> Published:
    """Read one of the files.

    Raises:
        DatasetError: If a key is missing or unknown, or a value has the wrong type.
    """
    content, kinds = read_yaml_file(path, DatasetError), get_type_hints(Published)
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected keys with values, but got {content!r}.")
    needed = [each.name for each in fields(Published) if each.default is MISSING]
    if missing := [key for key in needed if key not in content]:
        raise DatasetError(f"{path}: missing {', '.join(missing)}.")
    for key, value in content.items():
        if key not in kinds:
            raise DatasetError(f"{path}: {unknown_name('key', str(key), kinds)}")
        if misfit := find_misfit(key, value, kinds[key]):
            raise DatasetError(f"{path}: {misfit.sentence}")
    if set(content["counts"]) != {"train", "test"}:
        raise DatasetError(f"{path}: counts: expected train and test, but got {', '.join(content['counts'])}.")
    values: dict[str, Any] = {key: tuple(each) if isinstance(each, list) else each for key, each in content.items()}
    return Published(**values)


def published_at(reader: str, root: Path) -> Published | None:
    """What is known of a copy of a dataset.

    Args:
        reader: The layout under which it is read.
        root: Folder of its images.

    Returns:
        Of several that could be meant, the one that more paths tell; ``None`` if none is.
    """
    meant = [
        each
        for each in all_published()
        if reader in each.readers and all(os.path.lexists(root / path) for path in each.told_by)
    ]
    return max(meant, key=lambda each: len(each.told_by), default=None)


def known_of(published: Published | None) -> dict[str, str]:
    """:attr:`Published.known`; nothing if nothing is known."""
    return {} if published is None else published.known


def compare_published(published: Published | None, root: Path, found: Mapping[str, int]) -> None:
    """Tell if a copy of a published dataset has other numbers than it was published with.

    Args:
        published: The dataset; nothing is told where none is known.
        root: Where the copy lies.
        found: Its numbers of ``classes``, and of images of ``train`` and ``test``.

    Warns:
        UserWarning: If one differs.
    """
    if published is not None and (odd := published.missing(found)):
        warnings.warn(
            f"{root} is not the whole of {published.name}: it has {', '.join(odd)}. {published.to_be_had}", stacklevel=4
        )
