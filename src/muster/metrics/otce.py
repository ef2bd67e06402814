"""OTCE: how far apart source and target features are, and how uncertain a target label is, given a source label."""

from __future__ import annotations

from muster.metrics._features import Features, SampleLabels
from muster.metrics._transport import MAX_ITERATIONS, MAX_SAMPLES, SourceFeatures, SourceLabels, couple


def otce(
    source_features: SourceFeatures,
    source_labels: SourceLabels,
    features: Features,
    labels: SampleLabels,
    *,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
    max_iterations: int = MAX_ITERATIONS,
) -> tuple[float, float]:
    """Domain difference and task difference of a source and a target, from an exact coupling of their features.

    With pi the coupling of least sum of pi_ij |f_i - g_j|^2 between source features f and target features g, each row
    of a side weighing the same: the domain difference is that sum (no square root), and the task difference is the
    conditional entropy H(target label | source label) of the joint distribution that pi gives to pairs of labels.

    The paper weighs the two with coefficients learned from auxiliary tasks whose transfer results are known. There are
    none here: the two are returned apart, and a ranking of members adds them, each standardised over the members (see
    :func:`muster.metrics.standardised_sum`). The domain difference is in squared units of the features, so it
    compares members whose features are alike in scale; and it grows as samples shrink, so compare like with like.

    Args:
        source_features: What the member gives for images of its own source, ``[source_samples, dimensions]``, finite.
        source_labels: Their classes in the source, ``[source_samples]``, integers from 0.
        features: The same for the target, ``[samples, dimensions]``.
        labels: Their classes in the target, ``[samples]``, integers from 0; void must have been left out.
        max_samples: Rows a side; of more, so many are drawn without replacement.
        seed: The seed of that draw.
        max_iterations: Pivots after which the solver gives up.

    Returns:
        Domain difference, at least 0, and task difference, 0..log(target classes), natural log. Both are costs: smaller
        is better. Where several couplings are optimal, the domain difference is the same for all of them and the task
        difference is that of one of them, which the order of rows has no influence on; equal rows of different labels
        are coupled in proportion. So constant features give (squared distance, H(target label)).

    Raises:
        ValueError: If features are not finite floating-point arrays of one width, or are empty.
        ValueError: If labels are not integers, not one per row, negative, or void (255) is among them.
        ValueError: If the transport did not converge within ``max_iterations``, or is not proven to be optimal.
        ValueError: If a point would move 10^12 times as far as is usual (float64 cannot tell where to), or the cost
            leaves the range of float64.

    Source:
        Tan et al., "OTCE: A Transferability Metric for Cross-Domain Cross-Task Representations", CVPR 2021. Exact
        transport, as in the authors' code, which stops after 100 000 pivots with a warning (too early for 2000 rows a
        side); here the plan is proven by its dual variables, also beside far outliers.

    Note:
        O(rows^2 x dimensions) time and O(rows^2) memory for the distances, and a network simplex whose time grows
        somewhat faster than rows^2: a second or two for 2000 rows a side.

    Example:
        >>> import numpy as np
        >>> source, target = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.5], [1.5], [2.5], [3.5]])
        >>> domain, task = otce(source, np.array([0, 0, 1, 1]), target, np.array([0, 0, 0, 1]))
        >>> round(domain, 4), round(task, 4)  # source class 0 tells the label, class 1 leaves it open: log(2) / 2
        (0.25, 0.3466)
    """
    coupling = couple(source_features, features, max_samples, seed, max_iterations)
    task = coupling.conditional_entropy(source_labels, labels, ("source_labels", "labels"))
    return coupling.cost, task
