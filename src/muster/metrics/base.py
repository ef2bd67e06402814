"""BASE: what the cards alone say about an ensemble, without a look at the target."""

from __future__ import annotations

import numpy as np

from muster.arrays import Column, NumpyArray, to_column


def base(source_miou: Column, train_images: Column, num_classes: Column) -> float:
    """Sum over members of source test mIoU x source training images x source classes.

    Args:
        source_miou: Per member, mIoU on its own source's test split, 0..1.
        train_images: Per member, training images of its source, positive.
        num_classes: Per member, classes of its source, positive.

    Returns:
        At least 0; larger is better.

    Raises:
        ValueError: See :func:`base_terms`.

    Source:
        Agostinelli et al., "Transferability Metrics for Selecting Source Model Ensembles", CVPR 2022, section 4.1.

    Example:
        >>> base([0.5, 0.25], [100, 8], [10, 2])  # 500 + 4
        504.0
    """
    return float(base_terms(source_miou, train_images, num_classes).sum())


def base_terms(source_miou: object, train_images: object, num_classes: object) -> NumpyArray:
    """The summand of each member, of arguments not yet checked.

    Args:
        source_miou: As for :func:`base`.
        train_images: As for :func:`base`.
        num_classes: As for :func:`base`.

    Returns:
        float64 ``[members]``.

    Raises:
        ValueError: If the three are not of one length, are empty, or hold a value that is not finite or out of range.
    """
    miou = _within("source_miou", source_miou, lowest=0.0, highest=1.0)
    images = _within("train_images", train_images, lowest=1.0, highest=np.inf)
    classes = _within("num_classes", num_classes, lowest=1.0, highest=np.inf)
    if not len(miou) == len(images) == len(classes):
        raise ValueError(
            "Expected `source_miou`, `train_images` and `num_classes` to have one entry per member, "
            f"but got {len(miou)}, {len(images)} and {len(classes)}."
        )
    with np.errstate(over="ignore"):
        terms: NumpyArray = miou * images * classes
    if not np.isfinite(terms).all():
        index = int((~np.isfinite(terms)).argmax())
        raise ValueError(f"Expected products that float64 can hold, but that of entry {index} is {terms[index]}.")
    return terms


def _within(name: str, values: object, lowest: float, highest: float) -> NumpyArray:
    """One number per member, float64, in the range given."""
    column = to_column(name, values)
    wrong = (column < lowest) | (column > highest)
    if wrong.any():
        index = int(wrong.argmax())
        upper = f" and at most {highest:g}" if np.isfinite(highest) else ""
        came = f"`{name}[{index}]` is {column[index]:g}"
        raise ValueError(f"Expected `{name}` to be at least {lowest:g}{upper}, but {came}.")
    return column
