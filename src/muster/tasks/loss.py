"""What every training loss has in common, and where losses are found by name.

Axis names: ``b`` images, ``c`` classes, ``h0`` and ``w0`` the model's own resolution, ``h`` and ``w`` that of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from muster.data import VOID
from muster.errors import ConfigError
from muster.models.padding import Part, upsample
from muster.ranks import mean_over_ranks
from muster.registry import Registry

ClassWeighting: TypeAlias = Literal["none", "sqrt", "inverse"]
"""How much a pixel counts: as any other, or by one over its class's share of the pixels, or by the root of that."""


@dataclass(frozen=True, eq=False)
class LossOptions:
    """What a loss can be told; of these, a loss that is no cross-entropy heeds :attr:`part` and :attr:`void` alone.

    Attributes:
        class_weights: Weight of each class's pixels; ``None`` for 1.
        label_smoothing: Share of each pixel's label that is spread evenly over all classes.
        part: Which part of the scores shows the images, if they were padded.
        void: The value of a truth that is not known.
    """

    class_weights: Float[Tensor, " c"] | None = None
    label_smoothing: float = 0.0
    part: Part | None = None
    void: int = VOID


class Loss(Protocol):
    """A training loss."""

    @property
    def takes_options(self) -> bool:
        """Whether it is a cross-entropy, which heeds :class:`LossOptions`."""

    def __call__(
        self, scores: Float[Tensor, "b c h0 w0"], masks: Int64[Tensor, "b h w"], options: LossOptions
    ) -> Float[Tensor, ""]:
        """The loss of a batch; see the package :mod:`muster.tasks.losses`."""


LOSSES: Registry[Loss] = Registry("loss", "muster.tasks.losses", ConfigError)


def upsampled_scores(
    scores: Float[Tensor, "b c h0 w0"], masks: Int64[Tensor, "b h w"], part: Part | None = None
) -> Float[Tensor, "b c h w"]:
    """Scores in float32, of which the part that shows the images is brought to the size of the masks."""
    return upsample(scores.float(), (masks.shape[-2], masks.shape[-1]), part)


def per_labelled_pixel(
    total: Float[Tensor, ""],
    masks: Int64[Tensor, "b h w"],
    class_weights: Float[Tensor, " c"] | None = None,
    void: int = VOID,
) -> Float[Tensor, ""]:
    """Divide a sum over the pixels of a batch by the weight of those that are labelled.

    In a distributed fit gradients are averaged over the processes, so each divides by the mean of their weights: by
    its own, pixels would count by how much padding happened to lie beside them.

    Args:
        total: The sum.
        masks: Class indices or void.
        class_weights: Weight of each class's pixels; ``None`` for 1.
        void: The value of masks that are not known.

    Returns:
        The mean; 0 where nothing is labelled.
    """
    labelled = masks != void
    each = labelled if class_weights is None else class_weights[masks.masked_fill(~labelled, 0)] * labelled
    weight = mean_over_ranks(each.sum().float(), masks.device)
    return total / weight.clamp(min=1.0 if class_weights is None else 1e-6)


def class_weights_of(counts: Int64[Tensor, " c"], weighting: ClassWeighting) -> Float[Tensor, " c"] | None:
    """Weights of classes by their pixels in the training images; over those pixels they average 1.

    Args:
        counts: Training pixels of each class.
        weighting: How a class's share is turned into a weight.

    Returns:
        float32; 0 for a class without a pixel, as nothing of it can be learned. ``None`` if all count alike.
    """
    if weighting == "none":
        return None
    shares = counts.double() / counts.sum().clamp(min=1)
    weights = torch.where(counts > 0, shares.clamp(min=1e-300) ** (-1.0 if weighting == "inverse" else -0.5), 0.0)
    return (weights / (weights * shares).sum().clamp(min=1e-300)).float()
