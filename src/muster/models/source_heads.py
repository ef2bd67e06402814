"""One head for each of several source datasets on a common body, and the label space that they make together.

Axis names: ``batch`` images, ``channels`` of the feature map, ``classes`` of one head, ``all_classes`` of all heads one
after the other, ``h`` and ``w`` the network's own resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from muster.errors import ConfigError
from muster.models.pooled import Pooled
from muster.models.segmenter import HEADS, Segmenter, linear_head


class SourceHeads(nn.Module):
    """A linear head for each source dataset.

    Together they score the concatenation of their label spaces so that the softmax over all classes is the softmax
    within each head, divided by the number of heads: every source has the same share of the probability, and whatever
    takes scores and gives probabilities need not know that there are several heads.

    Attributes:
        classes: How many each head tells apart, in order.
    """

    def __init__(self, channels: int, classes: Sequence[int], seed: int) -> None:
        """Make fresh heads.

        Args:
            channels: Of the map that they read.
            classes: How many each tells apart, at least 1.
            seed: The first head has the weights that a network's only head has with this seed; the others go on from
                there.

        Raises:
            ValueError: If a number of classes is not positive.
        """
        super().__init__()
        self.classes = tuple(classes)
        self.heads = nn.ModuleList(linear_head(channels, count, seed + k) for k, count in enumerate(self.classes))

    def scores_of(
        self, source: int, features: Float[Tensor, "batch channels h w"]
    ) -> Float[Tensor, "batch classes h w"]:
        """What one head says, before softmax.

        Args:
            source: Its place.
            features: The map that all heads read.

        Returns:
            Its scores.
        """
        scores: Tensor = self.heads[source](features)
        return scores

    def forward(self, features: Float[Tensor, "batch channels h w"]) -> Float32[Tensor, "batch all_classes h w"]:
        """The logarithm of each head's probabilities, one head after the other.

        Args:
            features: The map that all heads read.

        Returns:
            Scores whose softmax over all classes is each head's own softmax, divided by the number of heads.
        """
        scores = [self.scores_of(source, features).float() for source in range(len(self.classes))]
        return torch.cat([each.log_softmax(dim=1) for each in scores], dim=1)


def put_source_heads(model: Segmenter, classes: Sequence[int], seed: int) -> SourceHeads:
    """Give a network a head for each of several source datasets in place of its own.

    Args:
        model: One of muster's own; it is changed, and its blueprint says so.
        classes: How many classes each head tells apart; at least one head.
        seed: The seed of their weights.

    Returns:
        The heads, which are the model's now.

    Raises:
        ConfigError: If a number of classes is not positive, or there is none.
    """
    if not classes or min(classes) < 1:
        raise ConfigError(f"Expected the classes of at least one head, each positive, but got {list(classes)}.")
    model.replace_head(sum(classes), seed)
    heads = SourceHeads(model.feature_channels, classes, seed).to(model.device)
    model.head = heads
    model.blueprint = replace(model.blueprint, config={**model.blueprint.config, HEADS: list(heads.classes)})
    return heads


def source_heads(model: nn.Module) -> SourceHeads:
    """The heads of a network that has several.

    Args:
        model: What :func:`put_source_heads` changed.

    Returns:
        Its heads.

    Raises:
        TypeError: If it has one head only.
    """
    head = getattr(model.inner if isinstance(model, Pooled) else model, "head", None)
    if not isinstance(head, SourceHeads):
        raise TypeError("Expected a network with a head for each of several sources, but it has a single one.")
    return head
