"""Cross-entropy of each class by itself, for images that can have several."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from muster.tasks.loss import LOSSES, LossOptions, per_labelled_pixel


class Binary:
    """Sigmoid and logarithm of each class, the mean over classes and images; label smoothing moves both labels."""

    takes_options = True

    def __call__(
        self, scores: Float[Tensor, "b c 1 1"], masks: Int64[Tensor, "b c 1"], options: LossOptions
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`; a truth has 1 where an image has a class, and 0 where it has not."""
        known = masks != options.void
        wanted = torch.where(masks == 1, 1 - options.label_smoothing / 2, options.label_smoothing / 2)
        each = functional.binary_cross_entropy_with_logits(scores.float()[..., 0], wanted, reduction="none")
        return per_labelled_pixel((each * known).sum(), masks, void=options.void)


LOSSES.add("binary", Binary())
