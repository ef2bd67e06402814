"""NCE: how much the source's predicted classes tell of the target's."""

from __future__ import annotations

import torch

from muster.arrays import Labels, SourceProbabilities, as_probabilities
from muster.metrics._features import as_present_classes
from muster.metrics.ensemble_block import first_argmax


def nce(probs: SourceProbabilities, labels: Labels) -> float:
    """Negative conditional entropy: minus H(Y given Z), Z the source's most likely class of a pixel.

    Args:
        probs: Source probabilities, ``[pixels, source_classes]``, between 0 and 1. Only each row's largest entry
            matters, the lowest class on an exact tie.
        labels: Target classes, ``[pixels]``, integers from 0; need not be contiguous; void must have been left out.

    Returns:
        From minus the log of the number of classes that occur (more exactly, from minus the entropy of the labels) to
        0; larger is better. Natural log. Source classes that are no pixel's most likely one and target classes that
        do not occur add nothing; 0 if only one target class occurs.

    Raises:
        ValueError: If ``probs`` is not a floating-point array with two non-empty axes, or holds NaN or values that are
            no probabilities.
        ValueError: If ``labels`` are not integers, not one per pixel, negative, or void (255) is among them.

    Source:
        Tran, Nguyen, Hassner, "Transferability and Hardness of Supervised Classification Tasks", ICCV 2019, eq. 3 and
        6. No additive smoothing of the joint, which some published code has.

    Note:
        O(pixels x source_classes).

    Example:
        >>> import numpy as np
        >>> probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
        >>> round(nce(probs, np.array([0, 1, 1])), 4)  # two of three pixels have Z = 0, of both classes: -2/3 log 2
        -0.4621
    """
    source = as_probabilities("probs", probs)
    target, counts = as_present_classes(labels, len(source), source.device)
    num_classes = len(counts)
    predicted = first_argmax(source)
    cells = predicted * num_classes + target
    joint = torch.bincount(cells, minlength=source.shape[1] * num_classes).view(-1, num_classes).double()
    share = joint / joint.sum(dim=1, keepdim=True)  # of the target classes given the source class; NaN where it is none
    return float(torch.special.xlogy(joint, torch.where(joint > 0, share, 1.0)).sum() / len(source))
