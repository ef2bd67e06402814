"""The distance of depths from what they should be, and of their steps from pixel to pixel."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from muster.tasks.loss import LOSSES, LossOptions
from muster.tasks.losses.l1 import depths_at_truth, known_differences, per_known_pixel


class L1Smoothness:
    """:class:`muster.tasks.losses.l1.L1`, and the distance of the steps to the right and down from those of the truth.

    A step counts where both of its pixels are known. Both sums are divided by the number of known pixels.

    Source:
        Mensink et al., Factors of Influence, 2021, eq. A.5 and A.6. The paper adds the two and names no weight: here
        each counts once.
    """

    takes_options = False

    def __call__(
        self, scores: Float[Tensor, "b 1 h0 w0"], masks: Float[Tensor, "b h w"], options: LossOptions
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`; a truth that is not known is NaN."""
        found = depths_at_truth(scores, masks, options.part)
        total = known_differences(found, masks).abs().sum()
        for axis in (-1, -2):
            total = total + known_differences(found.diff(dim=axis), masks.diff(dim=axis)).abs().sum()
        return per_known_pixel(total, masks)


LOSSES.add("l1_smoothness", L1Smoothness())
