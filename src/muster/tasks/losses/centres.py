"""The losses of objects that are found by their centres: heat, offset and size.

Axis names: ``b`` images, ``c`` classes, ``h`` and ``w`` cells of the map, ``n`` objects.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from muster.ranks import mean_over_ranks
from muster.tasks.centres import CentreTargets, centre_targets, take
from muster.tasks.loss import LOSSES, LossOptions

ALPHA, BETA = 2, 4
"""How much less a place counts that is nearly right, and one that is near a centre."""

SIZE_WEIGHT = 0.1
"""Of the loss of sizes beside that of heat; offsets count once (Zhou et al., 2019, section 5)."""


class Centres:
    """L1 + L2 + 0.1 L3 of M21 A.3, divided by the number of objects.

    Source:
        Mensink et al., "Factors of Influence", 2021, eqs. A.2 to A.4; weights and the reading of "otherwise" as Zhou,
        Wang, Kraehenbuehl, "Objects as Points", 2019, eqs. 1 to 4, have them. Both coordinates of an offset or a size
        are added up, as the equations say (CenterNet's code takes their mean).
    """

    takes_options = False

    def __call__(
        self, scores: Float[Tensor, "b outputs h w"], masks: Float[Tensor, "b rows columns"], options: LossOptions
    ) -> Float[Tensor, ""]:
        """See :class:`muster.tasks.loss.Loss`; truths are those of :mod:`muster.data.boxes`."""
        values = scores.float()
        heat, offsets, sizes = values[:, :-4], values[:, -4:-2], values[:, -2:]
        targets = centre_targets(masks, heat.shape[1], (heat.shape[2], heat.shape[3]), options.part)
        return box_losses(heat, offsets, sizes, targets)


def box_losses(
    heat: Float[Tensor, "b c h w"], offsets: Float[Tensor, "b 2 h w"], sizes: Float[Tensor, "b 2 h w"],
    targets: CentreTargets,
) -> Float[Tensor, ""]:  # fmt: skip
    """The weighted sum of the three, for each object."""
    total = focal(heat, targets.heat, targets.asked)
    total = total + distance(take(offsets, targets.places), targets.offsets, targets.has)
    total = total + SIZE_WEIGHT * distance(take(sizes, targets.places), targets.sizes, targets.has)
    return total / over_ranks(targets.has.sum())


def focal(
    scores: Float[Tensor, "b c h w"], heat: Float[Tensor, "b c h w"], asked: Bool[Tensor, "b c h w"]
) -> Float[Tensor, ""]:
    """Minus the logarithm of being right at each place, weighted; the sum over all places (eq. A.2).

    Args:
        scores: Before the sigmoid.
        heat: 1 at centres.
        asked: Places that count, besides centres.
    """
    said, right = scores.sigmoid(), heat == 1
    there = (1 - said).pow(ALPHA) * functional.logsigmoid(scores)
    elsewhere = (1 - heat).pow(BETA) * said.pow(ALPHA) * functional.logsigmoid(-scores)
    return -torch.where(right, there, elsewhere * asked).sum()


def distance(
    said: Float[Tensor, "b n k"], wanted: Float[Tensor, "b n k"], has: Bool[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """Sum of absolute differences over the objects that there are (eqs. A.3, A.4)."""
    return ((said - wanted).abs().sum(dim=-1) * has).sum()


def over_ranks(count: Tensor) -> Tensor:
    """What a sum over the objects of a batch is divided by: their number, at least 1.

    In a distributed fit it is the mean over the processes, see :func:`muster.tasks.loss.per_labelled_pixel`.
    """
    return mean_over_ranks(count.float(), count.device).clamp(min=1)


LOSSES.add("centres", Centres())
