"""RSA: whether images that a model trained on the target tells apart look different to a source model."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics._features import Features, as_features
from muster.metrics._pairwise import MAX_SAMPLES, Rows, correlate_pairs


def rsa(
    features: Features,
    reference: Float[Tensor, "samples reference_dimensions"] | Float[NumpyArray, "samples reference_dimensions"],
    *,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
) -> float:
    """Representation similarity analysis: rank correlation of two models' dissimilarities between images.

    The dissimilarity of two samples is 1 minus the Pearson correlation of their rows, each column given mean 0 and
    variance 1 first. The result is the Spearman correlation of the two models' dissimilarities over all pairs of
    samples, tied ones sharing their mean rank.

    Args:
        features: The member's features of each image, ``[samples, dimensions]``, at least 3 samples of 2 dimensions. A
            constant column becomes 0, and stays in the rows that are compared.
        reference: The same of a model trained on the target, ``[samples, reference_dimensions]``, of any width from 2.
        max_samples: Samples compared at most, up to 11 585; of more, so many are drawn without replacement.
        seed: The seed of that draw.

    Returns:
        -1..1; larger is better. Exchanging the two does not matter, nor do the order of samples, that of columns, and
        the scale and origin of a column. Precision as for :func:`muster.metrics.parc`.

    Raises:
        ValueError: If either is not a finite floating-point array, or has fewer than 3 samples or 2 columns, or they
            differ in their number of rows.
        ValueError: If a row that is compared is constant after standardisation (so always where all features are), or
            the dissimilarities of one side are all alike.
        ValueError: If ``max_samples`` is out of range.

    Note:
        O(n^2 d) multiplications and O(n^2) for the ranks, n the samples compared; 20 bytes a pair (0.25 GB for 5000
        samples). Runs on the CPU.

    Source:
        Dwivedi and Roig, "Representation Similarity Analysis for Efficient Task Taxonomy & Transfer Learning", CVPR
        2019, section 3. That columns are standardised first is in neither that paper nor Bolya et al., NeurIPS 2021;
        the authors' code of the latter does so.

    Example:
        >>> import numpy as np
        >>> features = np.array([[1.0, 0.0, 1.0], [2.0, 0.0, 3.0], [0.0, 1.0, 0.0], [0.0, 3.0, 2.0]])
        >>> round(rsa(features, 10.0 * features + 1.0), 4)
        1.0
    """
    rows = as_features("features", features, least_samples=3)
    other = as_features("reference", reference, least_samples=3)
    return correlate_pairs(Rows("features", rows), Rows("reference", other), max_samples, seed)
