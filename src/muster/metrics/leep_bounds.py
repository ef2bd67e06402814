"""What LEEP lies between: the two bounds of HASTE's lemmas.

Axis names: ``samples`` are target images or probe pixels, ``sources`` the classes of the source model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from muster.arrays import NumpyArray
from muster.metrics._features import SampleLabels, as_features, as_present_classes

STEPS = 200
"""Of expectation maximisation; more change the upper bound by less than can be drawn."""


class LeepBounds(NamedTuple):
    """LEEP and its bounds: ``lower <= leep <= upper <= 0``.

    Attributes:
        lower: Mean of log P(y|z) + log p(z|x), z the most probable source class of a sample (lemma 2).
        leep: Mean of log of the sum over z of P(y|z) p(z|x).
        upper: The same with the table P(y|z) for which it is largest (lemma 1).
    """

    lower: float
    leep: float
    upper: float


def leep_bounds(
    probs: Float[Tensor, "samples sources"] | Float[NumpyArray, "samples sources"],
    labels: SampleLabels,
    steps: int = STEPS,
) -> LeepBounds:
    """LEEP between its lower and its upper bound.

    Args:
        probs: Probabilities of the source classes, each row a distribution.
        labels: Target classes, integers from 0, not necessarily contiguous.
        steps: Of expectation maximisation towards the best table. It begins with LEEP's own, and no step makes the
            likelihood smaller, so the bound holds after any number of steps.

    Returns:
        The three, natural logarithms; larger is better.

    Raises:
        ValueError: If ``probs`` is not a finite floating-point array with two axes, or labels are not integers, one per
            sample.

    Source:
        "Towards Estimating Transferability using Hard Subsets" (HASTE), 2022, equations 8 and 9. Lemma 2 as printed has
        NCE, whose table is counted from the most probable classes alone; it holds with LEEP's table, which is taken
        here. The classifiers of lemma 1 are those that translate source classes by a table.

    Note:
        O(steps x samples x sources) time.

    Example:
        >>> import numpy as np
        >>> found = leep_bounds(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), np.array([0, 0, 1]))
        >>> [round(value, 3) for value in found]
        [-0.525, -0.409, -0.28]
    """
    given = as_features("probs", probs).double()
    classes, counts = as_present_classes(labels, len(given), given.device)
    tiny = torch.finfo(torch.float64).tiny
    of_class = torch.nn.functional.one_hot(classes, len(counts)).double()
    joint = of_class.T @ given
    table = joint / joint.sum(dim=0).clamp(min=tiny)
    largest = given.argmax(dim=1)
    lower = (
        table[classes, largest].clamp(min=tiny).log() + given.gather(1, largest[:, None])[:, 0].clamp(min=tiny).log()
    )
    likelihood = (table[classes] * given).sum(dim=1).clamp(min=tiny)
    leep = likelihood.log().mean()
    for _ in range(steps):
        expected = of_class.T @ (table[classes] * given / likelihood[:, None])
        table = expected / expected.sum(dim=0).clamp(min=tiny)
        likelihood = (table[classes] * given).sum(dim=1).clamp(min=tiny)
    return LeepBounds(float(lower.mean()), float(leep), float(likelihood.log().mean()))
