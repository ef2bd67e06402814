"""Published datasets without their images: what a dry run counts with before anything is downloaded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from typing import NoReturn

from muster.data.class_subset import draw_classes, subset_name
from muster.data.labelled_texts import of_texts
from muster.data.opening import as_published, seeded
from muster.data.published import Published, all_published, published_of
from muster.data.spec import TEXTS, Dataset, DatasetSpec, Split
from muster.errors import DatasetError
from muster.tasks.task import TASKS


def as_it_was_published(reference: str) -> Dataset | None:
    """A published dataset with as many images as it has, none of which can be read.

    Args:
        reference: A folder that is called as what is known of the dataset, or ``FOLDER:NAME``; with ``#3`` behind it
            some of its classes.

    Returns:
        The dataset; its classes have numbers for names, and of one that is cut into tiles the number of these is the
        papers'. Some of the classes have their share of the images, as if all had as many. ``None`` if no published one
        is called so.

    Raises:
        DatasetError: If a file of facts is named that cannot be read.
    """
    name, seed = seeded(reference)
    if seed is not None:
        whole = as_it_was_published(name)
        return None if whole is None else _some_classes(whole, seed, reference)
    folder, named = as_published(reference)
    if named:
        known = published_of(named, Path())
    elif (key := PurePath(folder).name) in (by_key := {each.key: each for each in all_published()}):
        known = by_key[key]
    else:
        return None
    classes = tuple(f"class {number}" for number in range(known.num_classes))
    spec = DatasetSpec(
        known.name, known.domain, classes, known.source, known.licence, known.citation, known.probe_images,
        task=known.task,
    )  # fmt: skip
    if TASKS[known.task].holds == TEXTS:
        spec = of_texts(spec)
    train, test = (_split(known, spec, name) for name in ("train", "test"))
    return Dataset(spec, train, test, reference)


def _some_classes(whole: Dataset, seed: int, reference: str) -> Dataset:
    """See :mod:`muster.data.class_subset`."""
    chosen = draw_classes(whole.spec.num_classes, None, seed)
    classes = tuple(whole.spec.classes[place] for place in chosen)
    spec = replace(whole.spec, name=subset_name(whole.spec.name, seed), classes=classes)
    share = len(chosen) / whole.spec.num_classes
    train, test = (
        replace(split, spec=spec, identifiers=split.identifiers[: max(1, round(share * len(split)))])
        for split in (whole.train, whole.test)
    )
    return Dataset(spec, train, test, reference)


def is_foreseen(dataset: Dataset) -> bool:
    """Whether a dataset is without its images."""
    read = dataset.train.read
    return isinstance(read, partial) and read.func is _refuse


def _split(known: Published, spec: DatasetSpec, name: str) -> Split:
    counts = known.counts | (known.paper_counts if "tiles" in known.dataset else {})
    return Split(spec, name, tuple(map(str, range(counts[name]))), partial(_refuse, known.to_be_had))


def _refuse(to_be_had: str, identifier: str) -> NoReturn:
    raise DatasetError(f"Image {identifier} is not at hand. {to_be_had}")
