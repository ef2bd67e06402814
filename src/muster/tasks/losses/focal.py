"""Focal loss: what is right already counts little, so that rare and hard pixels are heard."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from muster.tasks.loss import LOSSES, LossOptions, per_labelled_pixel, upsampled_scores


class Focal:
    """The mean over the classes of each one's focal loss against the others, and over the labelled pixels.

    Source:
        Lin et al., Focal Loss, 2017 (gamma 2, no alpha), as ``FocalLoss`` of segmentation_models_pytorch has it for
        several classes: a sigmoid for each, not one softmax over all.
    """

    takes_options = False

    def __call__(
        self,
        scores: Float[Tensor, "b c h0 w0"],
        masks: Int64[Tensor, "b h w"],
        options: LossOptions,
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`."""
        from segmentation_models_pytorch.losses import FocalLoss  # here, as settings look up the names of losses

        focal = FocalLoss("multiclass", ignore_index=options.void, reduction="sum")
        total: Tensor = focal(upsampled_scores(scores, masks, options.part), masks)
        return per_labelled_pixel(total, masks, void=options.void)


LOSSES.add("focal", Focal())
