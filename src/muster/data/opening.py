"""Open a dataset by what people call it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from muster.data.layout import open_folder
from muster.data.spec import Dataset
from muster.errors import DatasetError, unknown_name

WORLD_PREFIX = "worlds/"
SCENES_PREFIX = "scenes/"

BUILT_IN = (WORLD_PREFIX, SCENES_PREFIX)
"""What references of datasets begin with that have no folder."""

_MOST_DIGITS = 9
"""Of a number of images."""


@dataclass(frozen=True)
class DataSettings:
    """Where data lie.

    Attributes:
        data_root: Folder below which datasets are looked for first.
    """

    data_root: Path | None = None


def open_dataset(reference: str, data_root: Path | None = None, reader: str = "") -> Dataset:
    """Open a built-in world or a dataset folder.

    Args:
        reference: ``"worlds/NAME"``, ``"worlds/NAME@2000"`` for one of 2000 training images, ``"scenes/NAME"`` for
            images to classify, or the path of a folder; with ``#3`` behind it, a subset of its classes drawn with seed
            3 (:mod:`muster.data.class_subset`); a relative one is looked for below ``data_root`` first, then
            below the current folder. (``"./worlds/NAME"`` is a folder.)
        data_root: Where dataset folders are.
        reader: Layout of the folder; by default what its ``dataset.yaml`` says, or what it looks like.

    Returns:
        The dataset; its ``reference`` opens it again from any folder: a folder's is its absolute path.

    Raises:
        DatasetError: If there is no such world or folder, with near matches, or if the folder cannot be opened.
    """
    # Here, because the worlds are many modules of drawing code that a user of folders does not need.
    from muster.data.worlds import WORLD_NAMES

    name, seed = seeded(reference)
    if seed is not None and not any(map(os.path.isdir, places_of(reference, data_root))):
        return _some_classes(open_dataset(name, data_root, reader), seed)
    if is_built_in(reference):
        if reader:
            raise DatasetError(f"{reference} is built in, so a reader ({reader!r}) has no effect on it.")
        return _built_in(reference)
    if not reference.strip():
        raise DatasetError(f"Expected {WORLD_PREFIX}NAME or the path of a dataset folder, but got nothing.")
    tried = places_of(reference, data_root)
    # Unlike the methods of Path, these answer no to a name that is too long, or that one may not look at.
    found = next((candidate for candidate in tried if os.path.isdir(candidate)), None)  # noqa: PTH112
    if found is None:
        raise DatasetError(_not_found(reference, tried, WORLD_NAMES))
    return open_folder(found.absolute(), reader=reader)


def _built_in(reference: str) -> Dataset:
    from muster.data.worlds import WORLD_NAMES, open_world
    from muster.data.worlds.scenes import open_scenes

    if reference.startswith(SCENES_PREFIX):
        scenes: Dataset = open_scenes(reference.removeprefix(SCENES_PREFIX))
        return scenes
    name, count = counted(reference.removeprefix(WORLD_PREFIX))
    if name not in WORLD_NAMES:
        raise DatasetError(unknown_name("built-in world", name, WORLD_NAMES))
    world: Dataset = open_world(name, count)
    return world


def is_built_in(reference: str) -> bool:
    """Whether a reference is that of a dataset without a folder."""
    return reference.startswith(BUILT_IN)


def _some_classes(whole: Dataset, seed: int) -> Dataset:
    from muster.data.class_subset import class_subset, draw_classes, subset_name

    chosen = tuple(whole.spec.classes[place] for place in draw_classes(whole.spec.num_classes, None, seed))
    spec = replace(whole.spec, name=subset_name(whole.spec.name, seed), classes=chosen)
    return class_subset(whole, spec, f"{whole.reference}#{seed}")


def seeded(reference: str) -> tuple[str, int | None]:
    """Take a reference apart that asks for some of the classes of a dataset.

    Args:
        reference: ``NAME#3``, or a name alone.

    Returns:
        The name, and the seed if there is one.
    """
    name, _, seed = reference.rpartition("#")
    is_number = bool(name) and seed.isascii() and seed.isdigit() and len(seed) <= _MOST_DIGITS
    return (name, int(seed)) if is_number else (reference, None)


def counted(reference: str) -> tuple[str, int | None]:
    """Take a reference apart that says how many training images are meant.

    Args:
        reference: ``NAME@2000``, or a name alone.

    Returns:
        The name, and the number if there is one.
    """
    name, mark, count = reference.rpartition("@")
    is_number = bool(name) and count.isascii() and count.isdigit() and len(count) <= _MOST_DIGITS
    return (name, int(count)) if mark and is_number else (reference, None)


def places_of(reference: str, data_root: Path | None) -> list[Path]:
    """Where the folder of a dataset is looked for.

    Args:
        reference: Its path.
        data_root: Where dataset folders are.

    Returns:
        An absolute path itself; a relative one below ``data_root``, if it is given, and then below the current folder.
    """
    path = Path(reference).expanduser()
    return [path] if path.is_absolute() else [root / path for root in (data_root, Path.cwd()) if root is not None]


def _not_found(reference: str, tried: Iterable[Path], worlds: Iterable[str]) -> str:
    paths = list(tried)
    known = {name: WORLD_PREFIX + name for name in worlds}
    for path in paths:
        parent = path.parent
        with suppress(OSError):  # e.g. a folder that one may not look into
            known |= {entry.name: str(entry) for entry in parent.iterdir() if (entry / "dataset.yaml").is_file()}
    close = get_close_matches(paths[0].name, known, n=3)
    hint = f" Did you mean {' or '.join(known[name] for name in close)}?" if close else ""
    if not close and len(paths) == 1 and not Path(reference).is_absolute():
        hint = " Give the folder's path, or what it lies below as --data_root."
    file = " (It is a file; a folder is expected.)" if any(map(os.path.isfile, paths)) else ""
    return f"There is no dataset folder {reference!r}. Tried: {', '.join(map(str, paths))}.{file}{hint}"
