"""Some of the classes of a dataset, drawn with a seed: targets that differ in nothing but their classes (H22, 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from muster.data.spec import VOID, Dataset, DatasetSpec, Split
from muster.errors import DatasetError

SHARES = (0.4, 1.0)
"""Of the classes: where none is given, it is drawn evenly from between these (H22, section 5.2)."""

FEWEST = 2
"""With one class there is nothing to tell apart."""

_LEFT_OUT = -1

_ONE_CLASS = ("classification", "text_classification")
"""Tasks with one class for a whole image, or text."""

_TASKS = ("segmentation", *_ONE_CLASS, "multilabel")
"""Tasks whose truth can be cut down to some classes."""


def subset_name(name: str, seed: int) -> str:
    """What a subset of a dataset is called, unless its ``dataset.yaml`` says otherwise.

    Example:
        >>> subset_name("pets", 3)
        'pets_classes3'
    """
    return f"{name}_classes{seed}"


def draw_classes(count: int, share: float | None, seed: int) -> tuple[int, ...]:
    """Which of some classes are kept.

    Args:
        count: How many there are.
        share: Share that is kept, above 0 and at most 1; ``None`` to draw it from :data:`SHARES` with the seed.
        seed: Which ones.

    Returns:
        Their places, ascending; at least two.

    Example:
        >>> draw_classes(10, 0.4, seed=1)
        (2, 3, 5, 9)
    """
    generator = np.random.default_rng((seed % 2**64, 17))  # another stream than those that draw images
    drawn = generator.uniform(*SHARES)
    kept = min(count, max(FEWEST, round((drawn if share is None else share) * count)))
    return tuple(sorted(generator.permutation(count)[:kept].tolist()))


def class_subset(whole: Dataset, spec: DatasetSpec, reference: str) -> Dataset:
    """A dataset with some of the classes of another: all training and test images that show one of them.

    Other classes are void in masks, and images that show nothing else are left out. To know these, all masks of a
    segmentation dataset are read.

    Args:
        whole: The other dataset.
        spec: Of the new one; its classes are some of the other's.
        reference: What opens it again.

    Returns:
        The dataset. Its images have the content of the other's: whoever was trained on those has seen them.

    Raises:
        DatasetError: If the truth of the task is no class, or no image of a split shows one of the classes.
    """
    if whole.spec.task not in _TASKS:
        raise DatasetError(
            f"Some classes of {whole.spec.name!r} cannot be taken: its task is {whole.spec.task}. Expected one of "
            f"{', '.join(_TASKS)}."
        )
    spec = replace(spec, channels=whole.spec.channels, task=whole.spec.task, holds=whole.spec.holds)
    places = [spec.classes.index(name) if name in spec.classes else _LEFT_OUT for name in whole.spec.classes]
    train, test = (_split(spec, split, places) for split in (whole.train, whole.test))
    return Dataset(spec, train, test, reference)


def _split(spec: DatasetSpec, whole: Split, places: Sequence[int]) -> Split:
    changed = whole.with_truths(spec, partial(_cut, spec.task, tuple(places)))
    shown = tuple(name for name in whole.identifiers if _shows_one(spec.task, changed.mask_of(name)))
    if not shown:
        raise DatasetError(
            f"No image of split {whole.name!r} of {whole.spec.name!r} shows one of {', '.join(spec.classes)}. Take "
            "another seed or a larger share."
        )
    return replace(changed, identifiers=shown)


def _shows_one(task: str, truth: Tensor) -> bool:
    """Whether a cut truth says of an image that it shows one of the classes."""
    if task in _ONE_CLASS:
        return int(truth) != _LEFT_OUT
    return bool((truth == 1).any() if task == "multilabel" else (truth != VOID).any())


def _cut(task: str, places: tuple[int, ...], truth: Tensor) -> Tensor:
    """The truth of some of the classes, whose new places stand at the old ones; those left out have none."""
    if task == "multilabel":  # one row a class
        return truth[[old for old, new in enumerate(places) if new != _LEFT_OUT]]
    if task in _ONE_CLASS:
        return torch.tensor([[places[int(truth)]]])
    table = torch.full((VOID + 1,), VOID, dtype=torch.uint8)
    for old, new in enumerate(places):
        table[old] = VOID if new == _LEFT_OUT else new
    return table[truth.long()]
