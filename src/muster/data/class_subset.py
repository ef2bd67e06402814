"""Some of the classes of a dataset, drawn with a seed: targets that differ in nothing but their classes (H22, 5.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from muster.data.spec import Dataset, DatasetSpec, Split
from muster.errors import DatasetError
from muster.tasks.task import task_of

SHARES = (0.4, 1.0)
"""Of the classes: where none is given, it is drawn evenly from between these (H22, section 5.2)."""

FEWEST = 2
"""With one class there is nothing to tell apart."""


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

    What becomes of truths is said by the task (:meth:`muster.tasks.task.Task.some_classes`): other classes are void in
    masks, for example. Images that show nothing else are left out; to know these, all truths are read.

    Args:
        whole: The other dataset.
        spec: Of the new one; its classes are some of the other's.
        reference: What opens it again.

    Returns:
        The dataset. Its images have the content of the other's: whoever was trained on those has seen them.

    Raises:
        DatasetError: If the truths of the task cannot be cut so, or no image of a split shows one of the classes.
    """
    spec = replace(spec, channels=whole.spec.channels, task=whole.spec.task, holds=whole.spec.holds)
    places = [spec.classes.index(name) if name in spec.classes else None for name in whole.spec.classes]
    cut = task_of(whole.spec).some_classes(whole.spec, places)
    train, test = (_split(spec, split, cut) for split in (whole.train, whole.test))
    return Dataset(spec, train, test, reference)


def _split(spec: DatasetSpec, whole: Split, cut: Callable[[Tensor], Tensor]) -> Split:
    changed, task = whole.with_truths(spec, cut), task_of(spec)
    shown = tuple(name for name in whole.identifiers if task.shows_a_class(changed.mask_of(name)))
    if not shown:
        raise DatasetError(
            f"No {task.sample} of split {whole.name!r} of {whole.spec.name!r} shows one of {', '.join(spec.classes)}. "
            "Take another seed or a larger share."
        )
    return replace(changed, identifiers=shown)
