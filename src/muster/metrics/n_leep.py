"""N-LEEP: LEEP with a mixture of Gaussians on the features in place of the source's classes."""

from __future__ import annotations

import numpy as np

from muster.metrics._features import Features, SampleLabels, as_features, as_present_classes
from muster.metrics._mixture import fit_mixture, posteriors
from muster.metrics._pca import principal_components
from muster.metrics.leep import leep

_COMPONENTS_PER_CLASS = 5
_VARIANCE = 0.8

_LARGEST = 1e100
"""Far beyond what the regularisation bears, and far below what float64 can square."""


def n_leep(features: Features, labels: SampleLabels, seed: int = 0) -> float:
    """N-LEEP: LEEP of the posterior probabilities of a mixture of Gaussians that was fitted to the features.

    Features are reduced to the fewest principal components that hold 80 % of their variance. On these a mixture of 5 C
    Gaussians with full covariances is fitted, C the number of classes that occur: k-means++ and k-means for a start,
    1e-6 added to each covariance's diagonal, until the mean log-likelihood changes by less than 1e-3 or for 100 steps.

    Args:
        features: ``[samples, dimensions]``, floating point, at least 5 samples for each class on average.
        labels: Target classes, ``[samples]``, integers from 0; need not be contiguous.
        seed: The seed of the first clusters, the only thing that is drawn.

    Returns:
        From minus the entropy of the labels to 0, up to rounding; larger is better. Natural log. Minus that
        entropy for constant features, 0 if only one class occurs. Where there are fewer distinct samples than
        components, some of these have no weight. Unchanged, up to rounding, by permuting samples or renaming classes
        and by shifts and rotations of the features; not by scale, because of the regularisation.

    Raises:
        ValueError: If ``features`` is not a floating-point array with two axes, is empty, or holds a number that is not
            finite.
        ValueError: If ``labels`` are not integers, not one per sample, negative, or void (255) is among them.
        ValueError: If there are fewer samples than components, 5 C; so always with one sample per class.
        ValueError: If the features' scale is so large (standard deviations beyond some 10^4) that the regularisation is
            lost in rounding and a covariance is singular.

    Source:
        Li et al., "Ranking Neural Checkpoints", CVPR 2021, section 4.1. The paper does not say how the mixture is
        fitted; covariances, regularisation and stopping rule are those of the library that published code uses.

    Note:
        O(samples x dimensions x min(samples, dimensions)) for the principal components; with p of them and K Gaussians
        a step takes O(samples x K) products for bounds and O(samples x p^2) for the few Gaussians near a sample, and
        O(K x p^3).

    Example:
        >>> features = np.repeat(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0], [9.0, 9.0]]), 5, axis=0)
        >>> n_leep(features, np.repeat(np.array([0, 0, 1, 1]), 5))  # four points, each of one class
        0.0
    """
    values = as_features("features", features)
    classes, counts = as_present_classes(labels, len(values), values.device)
    components = _COMPONENTS_PER_CLASS * len(counts)
    if len(values) < components:
        raise ValueError(
            f"Expected `features` to hold at least {_COMPONENTS_PER_CLASS} samples per class on average, one for each "
            f"component of the mixture, but got {len(values)} of {len(counts)} classes."
        )
    points = principal_components(values, variance=_VARIANCE).cpu().numpy()
    if points.size and float(np.abs(points).max()) > _LARGEST:
        raise ValueError(
            "Expected `features` of a scale at which the mixture's regularisation is not lost, but got principal "
            f"components up to {np.abs(points).max():g}. Divide the features by a constant."
        )
    targets = classes.cpu().numpy()
    if points.shape[1] == 0:
        return leep(np.ones((len(points), 1)), targets)
    # What is drawn must not depend on the order in which samples come, nor on how the features are turned.
    order = np.argsort(np.square(points).sum(axis=1), kind="stable")
    points, targets = points[order], targets[order]
    mixture, guesses = fit_mixture(points, components, seed)
    return leep(posteriors(points, mixture, guesses), targets)
