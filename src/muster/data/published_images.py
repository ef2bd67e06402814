"""Published datasets of whole images whose own files say their classes: what their layouts have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from muster.data.dataset_yaml import Description, Heading, read_description
from muster.data.labelled_images import Label, dataset_of_labelled_files
from muster.data.spec import Dataset
from muster.data.splits import compare_counts
from muster.errors import DatasetError


def describe(
    heading: Heading,
    classes: Sequence[str],
    said_by: str,
    keys: Collection[str] = (),
    known: Mapping[str, str] | None = None,
    source: Path | None = None,
) -> Description:
    """What is known of a copy.

    Args:
        heading: Of its folder.
        classes: What its files say.
        said_by: Which files, with a verb: the end of the sentence "leave 'classes' out: ... them".
        keys: See :func:`muster.data.dataset_yaml.read_description`.
        known: What is known of any dataset in this layout.
        source: Where that is from, for messages.

    Raises:
        DatasetError: If its ``dataset.yaml`` is not valid, or names classes.
    """
    told = {**heading.unsaid, **(known or {}), "classes": list(classes)}
    description = read_description(heading, told, source, keys, whole_images=True)
    if description.spec.classes != tuple(classes):
        raise DatasetError(f"{description.path}: leave 'classes' out: {said_by} them.")
    return description


def open_copy(
    description: Description,
    splits: Mapping[str, Mapping[str, tuple[Path, Label]]],
    reference: str,
    task: str = "classification",
) -> Dataset:
    """The dataset.

    Args:
        description: Of the copy.
        splits: For ``train`` and ``test``, file and label of each identifier.
        reference: What it is to be called in records.
        task: What it is for.

    Warns:
        UserWarning: If its ``dataset.yaml`` says other numbers of images.
    """
    compare_counts(description, {name: len(each) for name, each in splits.items()})
    return dataset_of_labelled_files(replace(description.spec, task=task), description, splits, reference)
