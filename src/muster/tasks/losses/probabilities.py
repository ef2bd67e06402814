"""Cross-entropy of probabilities that were brought to the size of the mask, as M21 A.2 has it and evaluation does."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from muster.models import upsample_probabilities
from muster.tasks.loss import LOSSES, LossOptions, per_labelled_pixel


class Probabilities:
    """Take softmax at the model's own resolution, upsample bilinearly, then take the logarithm.

    A true class whose probability underflows counts as the smallest normal number, and nothing is learned there.

    Source:
        Mensink et al., Factors of Influence, 2021, eq. A.1 in the order of figure A.3a. As printed it lacks the minus
        sign and divides by all pixels, the unlabelled ones included; here it is the mean over the labelled ones.
    """

    takes_options = True

    def __call__(
        self, scores: Float[Tensor, "b c h0 w0"], masks: Int64[Tensor, "b h w"], options: LossOptions
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`."""
        weights = None if options.class_weights is None else options.class_weights.to(scores.device)
        size = (masks.shape[-2], masks.shape[-1])
        probabilities = upsample_probabilities(scores.float().softmax(dim=1), size, options.part)
        logarithms = probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()
        total = functional.nll_loss(logarithms, masks, weights, ignore_index=options.void, reduction="sum")
        if options.label_smoothing:
            every = logarithms if weights is None else logarithms * weights[:, None, None]
            spread = -(every.mean(dim=1) * (masks != options.void)).sum()
            total = torch.lerp(total, spread, options.label_smoothing)
        return per_labelled_pixel(total, masks, weights, options.void)


LOSSES.add("probabilities", Probabilities())
