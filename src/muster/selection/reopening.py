"""Open again what a selection was made from, wherever it lies now, and check that it is the same.

Data are the same if the training images that the selection looked at have the same bytes, a member if its weights have
the same checksum. Names do not matter, except for selections from before, which know nothing else.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from muster.data import Dataset, content_prefixes, open_dataset
from muster.data.dataset_yaml import DESCRIPTION_FILE
from muster.data.opening import apart, is_built_in, places_of
from muster.errors import DatasetError, SelectionError
from muster.pool import Pool
from muster.selection.record import SelectionRecord
from muster.tasks.task import task_of


def portable_reference(reference: str, data_root: Path | None) -> tuple[str, str]:
    """What to write down of where a dataset lies, so that it is found again from any folder and after a move.

    Args:
        reference: What :func:`muster.data.open_dataset` opened.
        data_root: Below which it was looked for first.

    Returns:
        For a folder below the data root, its path relative to that, and the data root's absolute path; for another
        folder its absolute path, and for anything else the reference as it is, with an empty text.
    """
    if is_built_in(reference):
        return reference, ""
    path, rest = apart(reference, data_root)
    found = next((place for place in places_of(path, data_root) if place.is_dir()), None)
    if found is None:
        return reference, ""
    if data_root is not None:
        for folder, root in ((found.absolute(), data_root.absolute()), (found.resolve(), data_root.resolve())):
            if folder != root and folder.is_relative_to(root):
                relative = folder.relative_to(root).as_posix()
                # A folder of that name is no built-in world.
                return (f"./{relative}" if is_built_in(relative) else relative) + rest, str(root)
    return str(found.resolve()) + rest, ""


def open_target(selection: SelectionRecord, target: str | None = None, data_root: Path | None = None) -> Dataset:
    """Open the target of a selection where it lies now; :func:`require_same_data` checks that it is the same.

    Args:
        selection: Says where it was.
        target: Where it is now, if somebody says so: what :func:`muster.data.open_dataset` takes.
        data_root: Where to look first; the folder may have moved to it from anywhere.

    Returns:
        The dataset.

    Raises:
        DatasetError: If it is nowhere, or cannot be opened.
    """
    if target is not None or is_built_in(selection.target_reference):
        return open_dataset(target or selection.target_reference, data_root)
    places = list(dict.fromkeys(_places(selection, data_root)))
    whole = (place for place in places if os.path.isfile(place / DESCRIPTION_FILE))  # noqa: PTH113 (never an error)
    found = next(whole, None) or next((place for place in places if os.path.isdir(place)), None)  # noqa: PTH112
    if found is None:
        raise DatasetError(
            f"The dataset of the selection, {selection.target!r}, is not where it was any more. Tried: "
            f"{', '.join(map(str, places))}. Say where it lies now with --target FOLDER, or with --data_root."
        )
    return open_dataset(str(found.absolute()) + apart(selection.target_reference, Path(selection.data_root))[1])


def _places(selection: SelectionRecord, data_root: Path | None) -> Iterator[Path]:
    reference = Path(apart(selection.target_reference, Path(selection.data_root))[0])
    if data_root is not None:
        # Of an absolute path nobody knows which part was the data root: the longest that is there is tried first.
        parts = reference.parts[1:] if reference.is_absolute() else reference.parts
        starts = range(len(parts)) if reference.is_absolute() else range(1)
        yield from (data_root.joinpath(*parts[start:]) for start in starts)
    yield Path(selection.data_root) / reference


def require_same_data(selection: SelectionRecord, dataset: Dataset) -> None:
    """Check that a dataset is the one that a selection was made for.

    Args:
        selection: Says which images it looked at, and what their content was.
        dataset: What was opened now.

    Raises:
        SelectionError: If its classes are others, or images are gone or have another content; it names them.
        DatasetError: If an image cannot be read.
    """
    name = f"dataset {dataset.spec.name!r} ({dataset.reference})"
    if task_of(dataset.spec).has_classes and selection.classes != dataset.spec.classes:
        raise SelectionError(
            f"The selection was made for classes {', '.join(selection.classes)}, but {name} has "
            f"{', '.join(dataset.spec.classes)}. Give the data that it was made for (--target), or run select.py again."
        )
    gone = sorted(set(selection.train_images) - set(dataset.train.identifiers))
    if gone:
        raise SelectionError(
            f"{len(gone)} training {dataset.spec.holds} of the selection are no longer in {name}, e.g. {gone[0]}. "
            "Restore them, give the data that the selection was made for (--target), or run select.py again."
        )
    if dataset.train.content is None:
        return
    if not selection.train_contents:
        if dataset.spec.name.casefold() != selection.target.casefold():
            raise SelectionError(
                f"The selection was made for {selection.target!r}, but this is {name}. It is a selection from before, "
                f"which does not know the content of its {dataset.spec.holds}, so the names must agree. Run select.py "
                "again."
            )
        return
    found = content_prefixes(replace(dataset.train, identifiers=selection.train_images))
    recorded = zip(selection.train_images, selection.train_contents, found, strict=True)
    if others := [identifier for identifier, before, now in recorded if before != now]:
        raise SelectionError(
            f"{len(others)} of the {len(found)} training {dataset.spec.holds} that the selection looked at have "
            f"another content in {name}, e.g. {others[0]}. Restore them, give the data that the selection was made for "
            "(--target), or run select.py again."
        )


def open_pool(selection: SelectionRecord, names: Iterable[str], moved: Path | None = None) -> Pool:
    """Open the pool of a selection where it lies now, and check that the members are those of then.

    Args:
        selection: Says where the pool was, and the checksums of its members.
        names: The members that matter.
        moved: Where it is now, if somebody says so.

    Returns:
        The pool.

    Raises:
        SelectionError: If the pool is not there any more, or the weights of a member are others.
        PoolError: If it cannot be opened, or lacks a member.
    """
    if moved is None and not os.path.isdir(selection.pool):  # noqa: PTH112 (never an error)
        raise SelectionError(
            f"The pool of the selection is not at {selection.pool} any more. Say where it lies now with --pool."
        )
    pool = Pool.open(moved or selection.pool)
    others = [
        name for name in names if pool[name].card.checksum != selection.checksums.get(name, pool[name].card.checksum)
    ]
    if others:
        raise SelectionError(
            f"Pool {pool.folder}: the weights of {', '.join(others)} are not those that the selection was made with. "
            "Give the pool that it was made from (--pool), or run select.py again."
        )
    return pool


def warn_if_from_before(selection: SelectionRecord, where: Path) -> None:
    """Tell if a selection can be compared with its data and its pool by names only.

    Args:
        selection: Any.
        where: Its folder, for the message.

    Warns:
        UserWarning: If it does not know the contents.
    """
    if not selection.checksums:
        warnings.warn(
            f"The selection {where} is from before contents were written down: its data are compared by names and "
            "classes only, and its members by their names. Run select.py again to have them compared by content.",
            stacklevel=2,
        )
