"""One minus the Dice coefficient of each class over a batch: what mIoU rewards, rather than pixels."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from muster.ranks import sum_with_gradients
from muster.tasks.loss import LOSSES, LossOptions, upsampled_scores

_LEAST = 1e-7
"""Keeps the quotient finite for a class without a pixel, as in SMP."""


class Dice:
    """The mean over the classes; one that no pixel of the batch has adds 0, and is pushed neither up nor down.

    Source:
        Milletari et al., V-Net, 2016, with the conventions of ``DiceLoss`` of segmentation_models_pytorch (multiclass,
        linear denominator, no smoothing), whose value this is. Pixels of all processes are counted together.
    """

    takes_options = False

    def __call__(
        self,
        scores: Float[Tensor, "b c h0 w0"],
        masks: Int64[Tensor, "b h w"],
        options: LossOptions,
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`."""
        labelled = masks != options.void
        probabilities = upsampled_scores(scores, masks, options.part).softmax(dim=1) * labelled[:, None]
        truth = functional.one_hot(masks.masked_fill(~labelled, 0), scores.shape[1]).movedim(-1, 1) * labelled[:, None]
        sums = [(probabilities * truth).sum((0, 2, 3)), probabilities.sum((0, 2, 3)), truth.float().sum((0, 2, 3))]
        hits, predicted, true = (sum_with_gradients(each) for each in sums)
        coefficients = 2 * hits / (predicted + true).clamp(min=_LEAST)
        return ((1 - coefficients) * (true > 0)).mean()


LOSSES.add("dice", Dice())
