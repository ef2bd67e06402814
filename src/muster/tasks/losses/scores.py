"""Cross-entropy of scores that were brought to the size of the mask: the usual loss of segmentation."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from muster.tasks.loss import LOSSES, LossOptions, per_labelled_pixel, upsampled_scores


class Scores:
    """Upsample scores bilinearly, then take softmax and the logarithm."""

    takes_options = True

    def __call__(
        self, scores: Float[Tensor, "b c h0 w0"], masks: Int64[Tensor, "b h w"], options: LossOptions
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`."""
        weights = None if options.class_weights is None else options.class_weights.to(scores.device)
        total = functional.cross_entropy(
            upsampled_scores(scores, masks, options.part),
            masks,
            weights,
            ignore_index=options.void,
            reduction="sum",
            label_smoothing=options.label_smoothing,
        )
        return per_labelled_pixel(total, masks, weights, options.void)


LOSSES.add("scores", Scores())
