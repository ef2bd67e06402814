"""The mean distance of depths from what they should be, of depths at the size of the truth."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from muster.models import upsample_probabilities
from muster.models.padding import Part
from muster.tasks.loss import LOSSES, LossOptions, per_labelled_pixel


class L1:
    """Softplus at the model's own resolution, bilinear upsampling, then the distance at each pixel that is known.

    Source:
        Mensink et al., Factors of Influence, 2021, eq. A.5 in the order of figure A.6a. Pixels of which nothing is
        known are not in N, which the paper leaves open.
    """

    takes_options = False

    def __call__(
        self, scores: Float[Tensor, "b 1 h0 w0"], masks: Float[Tensor, "b h w"], options: LossOptions
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`; a truth that is not known is NaN."""
        total = known_differences(depths_at_truth(scores, masks, options.part), masks).abs().sum()
        return per_known_pixel(total, masks)


def depths_at_truth(
    scores: Float[Tensor, "b 1 h0 w0"], truth: Float[Tensor, "b h w"], part: Part | None = None
) -> Float[Tensor, "b h w"]:
    """Predicted depths at the places of the truth.

    Args:
        scores: At the model's own resolution, before softplus.
        truth: Of the images.
        part: Which part of the scores shows the images, if they were padded.

    Returns:
        float32, positive.
    """
    positive = functional.softplus(scores.float())
    return upsample_probabilities(positive, (truth.shape[-2], truth.shape[-1]), part)[:, 0]


def known_differences(found: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Predictions minus truths; 0, and without a gradient, where one of them is not known (NaN)."""
    known = ~(found.isnan() | truth.isnan())
    return found.where(known, 0.0) - truth.where(known, 0.0)


def per_known_pixel(total: Float[Tensor, ""], truth: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """See :func:`muster.tasks.loss.per_labelled_pixel`."""
    return per_labelled_pixel(total, (~truth.isnan()).long() - 1, void=-1)


LOSSES.add("l1", L1())
