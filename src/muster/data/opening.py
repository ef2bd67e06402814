"""Open a dataset by what people call it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from muster.data.layout import open_folder
from muster.data.published import ENDING, all_published
from muster.data.sentences import TEXTS_PREFIX, open_texts
from muster.data.spec import Dataset
from muster.errors import DatasetError, unknown_name
from muster.remote import copy_of, fetched, is_remote

WORLD_PREFIX = "worlds/"
SCENES_PREFIX = "scenes/"
DEPTHS_PREFIX, BOXES_PREFIX, KEYPOINTS_PREFIX = "depths/", "boxes/", "keypoints/"

BUILT_IN = (WORLD_PREFIX, SCENES_PREFIX, DEPTHS_PREFIX, BOXES_PREFIX, KEYPOINTS_PREFIX, TEXTS_PREFIX)
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
            images to classify, ``"depths/NAME"`` for the depths of a world, ``"boxes/NAME"`` for things with boxes,
            ``"keypoints/NAME"`` for persons with their parts, ``"texts/NAME"`` for texts, or the path of a folder; with
            ``#3`` behind it, a subset of its classes drawn with seed 3 (:mod:`muster.data.class_subset`); with
            ``:cityscapes33`` behind it, read as that published dataset (:mod:`muster.data.published`), or as the YAML
            file of this path says; a relative one is looked for below ``data_root`` first, then below the current
            folder. (``"./worlds/NAME"`` is a folder.)
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
    place, spec = as_published(reference, data_root)
    tried = places_of(place, data_root)
    found = _first_folder(tried)
    if found is None:
        raise DatasetError(_not_found(place, tried, WORLD_NAMES, spec))
    path = found.absolute()
    if spec.endswith(ENDING):
        spec = str(Path(spec).expanduser().absolute())
    return open_folder(path, f"{path}:{spec}" if spec else None, reader, spec)


def _first_folder(places: Iterable[Path]) -> Path | None:
    # Unlike the methods of Path, this answers no to a name that is too long, or that one may not look at.
    return next((place for place in map(fetched, places) if os.path.isdir(place)), None)  # noqa: PTH112


def as_published(reference: str, data_root: Path | None = None) -> tuple[str, str]:
    """Take a reference apart that says which published dataset a folder is a copy of.

    Args:
        reference: ``FOLDER:cityscapes33``, ``FOLDER:path/to/my.yaml``, or a folder alone.
        data_root: Where dataset folders are: a folder may have a colon in its own name.

    Returns:
        The folder; and the published dataset or file, if one is named.
    """
    folder, mark, spec = reference.rpartition(":")
    is_named = bool(mark and folder and spec) and (spec.endswith(ENDING) or "/" not in spec)
    if not is_named or _first_folder(places_of(reference, data_root)) is not None:
        return reference, ""
    return folder, spec


def apart(reference: str, data_root: Path | None = None) -> tuple[str, str]:
    """Take a reference of a folder apart into its path and what says how the folder is read.

    Args:
        reference: What :func:`open_dataset` opens, or the ``reference`` of what it opened.
        data_root: Where dataset folders are: a folder may have such marks in its own name.

    Returns:
        The path; and the rest, such as ``:cityscapes33`` or ``#3``, mostly nothing. Together they are the reference.
    """
    if _first_folder(places_of(reference, data_root)) is not None:
        return reference, ""
    folder, _ = as_published(seeded(reference)[0], data_root)
    return folder, reference.removeprefix(folder)


def _built_in(reference: str) -> Dataset:
    from muster.data.worlds import WORLD_NAMES, open_world
    from muster.data.worlds.depths import open_depths
    from muster.data.worlds.objects import open_boxes, open_keypoints
    from muster.data.worlds.scenes import open_scenes

    if reference.startswith(TEXTS_PREFIX):
        return open_texts(reference.removeprefix(TEXTS_PREFIX))
    if reference.startswith(SCENES_PREFIX):
        scenes: Dataset = open_scenes(reference.removeprefix(SCENES_PREFIX))
        return scenes
    if reference.startswith(DEPTHS_PREFIX):
        depths: Dataset = open_depths(*counted(reference.removeprefix(DEPTHS_PREFIX)))
        return depths
    for prefix, opens in ((BOXES_PREFIX, open_boxes), (KEYPOINTS_PREFIX, open_keypoints)):
        if reference.startswith(prefix):
            objects: Dataset = opens(reference.removeprefix(prefix))
            return objects
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
    path = copy_of(reference) if is_remote(reference) else Path(reference).expanduser()
    roots = dict.fromkeys(root.absolute() for root in (data_root, Path.cwd()) if root is not None)
    return [path] if path.is_absolute() else [root / path for root in roots]


def _not_found(reference: str, tried: Iterable[Path], worlds: Iterable[str], spec: str) -> str:
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
    where = next((f" {each.to_be_had}" for each in all_published() if each.key in {spec, Path(reference).name}), "")
    return f"There is no dataset folder {reference!r}. Tried: {', '.join(map(str, paths))}.{file}{hint}{where}"
