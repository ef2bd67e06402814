"""PARC: whether images that are annotated differently look different to a source model."""

from __future__ import annotations

from typing import TypeAlias

from jaxtyping import Float, Integer
from torch import Tensor

from muster.arrays import NumpyArray, to_tensor
from muster.metrics._features import Features, as_features
from muster.metrics._pairwise import MAX_SAMPLES, Rows, correlate_pairs

Annotations: TypeAlias = (
    Float[Tensor, "samples classes"]
    | Integer[Tensor, "samples classes"]
    | Float[NumpyArray, "samples classes"]
    | Integer[NumpyArray, "samples classes"]
)


def parc(features: Features, annotations: Annotations, *, max_samples: int = MAX_SAMPLES, seed: int = 0) -> float:
    """Pairwise annotation representation comparison.

    The dissimilarity of two samples is 1 minus the Pearson correlation of their rows: of their features, each column
    given mean 0 and variance 1 first, and of their annotations, as they are. The result is the Spearman correlation of
    the two over all pairs of samples, tied dissimilarities sharing their mean rank.

    Args:
        features: The member's features of each image, ``[samples, dimensions]``, at least 3 samples of 2 dimensions. A
            constant column becomes 0, and stays in the rows that are compared. More columns than samples, and equal
            columns, are nothing special.
        annotations: The target's annotations as vectors, ``[samples, classes]``, at least 2 classes: one-hot classes
            (integers will do), or the share of each class among an image's pixels. Shares in float64, since what ties
            exactly in them does not in float32. A column of a class that no image has does not change the score of
            one-hot annotations, but does that of shares.
        max_samples: Samples compared at most, up to 11 585; of more, so many are drawn without replacement.
        seed: The seed of that draw.

    Returns:
        -1..1; larger is better. The order of samples and that of columns do not matter, nor do the scale and origin of
        a feature. Dissimilarities that are equal but for round-off tie: those closer than 5e-13 up to 2048 samples,
        4e-12 for 5000, 1.5e-11 for 11 585. Of features without exact ties that changes the score by some 1e-12.

    Raises:
        ValueError: If ``features`` are not a finite floating-point array, or have fewer than 3 samples or 2 columns.
        ValueError: If ``annotations`` are no such array of numbers with as many rows.
        ValueError: If a row that is compared is constant: features that are all at their column's mean (so always where
            all features are constant), or shares that are all equal. NumPy's correlation is NaN there.
        ValueError: If the dissimilarities of one side are all alike: a single class, or one sample per class.
        ValueError: If ``max_samples`` is out of range.

    Note:
        O(n^2 d) multiplications and O(n^2) for the ranks, n the samples compared; 16 bytes a pair while they are
        sorted (0.2 GB for 5000 samples), and 4 more if no two annotations are equal. Runs on the CPU.

    Source:
        Bolya et al., "Scalable Diverse Model Selection for Accessible Transfer Learning", NeurIPS 2021, eq. 7 and 8;
        annotations of segmentation as in section 5. That features are standardised first is not in eq. 7, but in the
        authors' code, whose scores are 100 times as large.

    Example:
        >>> import numpy as np
        >>> features = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
        >>> round(parc(features, np.eye(2)[[0, 0, 1, 1]]), 4)  # both pairs of one class are the most similar
        1.0
    """
    rows = as_features("features", features, least_samples=3)
    values = to_tensor("annotations", annotations)
    if not values.is_floating_point():
        values = values.double()
    if values.ndim == 1:
        raise ValueError(
            "Expected `annotations` as vectors, [samples, classes], but got one axis. One-hot the classes."
        )
    reference = Rows("annotations", as_features("annotations", values, least_samples=3), standardised=False)
    return correlate_pairs(Rows("features", rows), reference, max_samples, seed)
