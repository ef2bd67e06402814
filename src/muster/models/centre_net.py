"""Networks that find objects by their centres: any network's map, and heads of two convolutions on it.

Axis names: as in :mod:`muster.models.source_model`; ``outputs`` the maps of all heads, one after the other.

Source: Zhou, Wang, Kraehenbuehl, "Objects as Points", 2019, as Mensink et al., "Factors of Influence for Transfer
Learning Across Diverse Appearance Domains and Task Types", 2021, appendices A.3 and A.4, have its heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from muster.errors import UnfitMemberError
from muster.models.blueprint import INNER, Blueprint
from muster.models.build import seeded
from muster.models.segmenter import Segmenter
from muster.models.source_model import SourceModel
from muster.models.wrapped import Wrapped

CENTRE_NET = "centre_net"
"""The model source that builds such networks."""

WIDTH, LEAST_WIDTH = 256, 64
"""Channels of the neck, and within each head, see :func:`width_for`."""

_PRIOR = 0.1
"""Heat of a fresh head everywhere: most places are no centre. (As CenterNet's authors begin.)"""


@dataclass(frozen=True)
class Heads:
    """Which heads there are.

    Attributes:
        outputs: Maps of each head, for a number of classes (of points, where objects have points).
        heat: Which heads say how likely something is there.
        of_classes: Which head has a map for each class.
        has_neck: Whether a 1x1 and a 3x3 convolution lie between the map and the heads (M21 A.3; not in A.4).
    """

    outputs: Callable[[int], tuple[int, ...]]
    heat: tuple[int, ...]
    of_classes: int
    has_neck: bool

    def classes(self, num_classes: int) -> slice:
        """Where the maps of the classes are."""
        sizes = self.outputs(num_classes)
        start = sum(sizes[: self.of_classes])
        return slice(start, start + sizes[self.of_classes])


def _of_boxes(classes: int) -> tuple[int, ...]:
    return classes, 2, 2


def _of_points(points: int) -> tuple[int, ...]:
    return 1, 2, 2, points, 2, 2 * points


HEADS: Mapping[str, Heads] = {
    "boxes": Heads(_of_boxes, (0,), 0, has_neck=True),
    "points": Heads(_of_points, (0, 3), 3, has_neck=False),
}
"""``boxes``: heat of each class, offset, size. ``points``: those for one class, heat of each point, its offset, and
where each point is, seen from the centre."""


class CentreNet(Wrapped):
    """Any network whose own classifier is left out, and heads on the map that it read.

    Attributes:
        inner: The network.
        kind: One of :data:`HEADS`.
        neck: What lies between its map and the heads.
        heads: One after the other.
    """

    def __init__(self, inner: SourceModel, num_classes: int, kind: str, seed: int = 0) -> None:
        """Put fresh heads on a network, which loses its classifier.

        Args:
            inner: One that segments; or a backbone, which gets a fresh decoder where its architecture has one.
            num_classes: At least 1.
            kind: See the class.
            seed: The seed of the heads.

        Raises:
            UnfitMemberError: If it has no map that heads could read.
        """
        if not isinstance(inner, Segmenter):
            raise UnfitMemberError(f"{inner.architecture} has no map that heads for objects could be put on.")
        inner.replace_head(1, seed)
        super().__init__(inner)
        self.kind, self.architecture = kind, inner.architecture
        self.feature_channels = inner.feature_channels
        self.depth = inner.depth - 1 + (4 if HEADS[kind].has_neck else 2)
        inner.head = nn.Identity()
        self._describe()
        self._make_heads(num_classes, seed)

    def _describe(self) -> None:
        config = {INNER: asdict(self.inner.blueprint), "heads": self.kind}
        self.blueprint = Blueprint(CENTRE_NET, self.architecture, config)

    def _make_heads(self, num_classes: int, seed: int) -> None:
        if num_classes < 1:
            raise ValueError(f"Expected a positive number of classes, but got num_classes={num_classes}.")
        with seeded(seed):
            neck, heads = make_heads(self.feature_channels, num_classes, self.kind)
        self.neck, self.heads = neck.to(self.device), heads.to(self.device)
        self._num_classes = num_classes
        self.train(self.inner.training)

    @property
    def num_classes(self) -> int:
        """See :attr:`SourceModel.num_classes`; points, where objects have points."""
        return self._num_classes

    @property
    def num_parameters(self) -> int:
        """See :attr:`SourceModel.num_parameters`."""
        return self.inner.num_parameters + self.head_parameters

    @property
    def head_parameters(self) -> int:
        """Number of weights and biases of neck and heads."""
        return sum(each.numel() for part in (self.neck, self.heads) for each in part.parameters())

    @property
    def scores_features(self) -> bool:
        """No: the scores of classes are read off some of the maps, see :meth:`read`."""
        return False

    def features(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """See :meth:`SourceModel.features`: what neck or heads read."""
        return self.inner.features(images)

    def features_and_embeddings(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> tuple[Float[Tensor, "batch channels map_height map_width"], list[Float[Tensor, "batch _"]]]:
        """See :meth:`SourceModel.features_and_embeddings`."""
        return self.inner.features_and_embeddings(images)

    def score(
        self, features: Float[Tensor, "batch channels map_height map_width"]
    ) -> Float[Tensor, "batch outputs map_height map_width"]:
        """The maps of all heads, before any sigmoid."""
        shared = self.neck(features)
        return torch.cat([head(shared) for head in self.heads], dim=1)

    def read(
        self, images: Float[Tensor, "batch bands height width"], stages: bool = False
    ) -> tuple[
        Float[Tensor, "batch classes map_height map_width"],
        Float[Tensor, "batch channels _ _"],
        list[Float[Tensor, "batch _"]],
    ]:
        """See :meth:`SourceModel.read`: of the scores, those of the classes alone."""
        features, embeddings = self.features_and_embeddings(images) if stages else (self.features(images), [])
        return self.score(features)[:, HEADS[self.kind].classes(self.num_classes)], features, embeddings

    def replace_head(self, num_classes: int, seed: int, decoder: bool = True) -> None:  # noqa: ARG002 (there is none)
        """See :meth:`SourceModel.replace_head`: fresh neck and heads."""
        self._make_heads(num_classes, seed)


def with_heads(model: SourceModel, kind: str, seed: int = 0) -> CentreNet:
    """A network with heads of a kind: the same one if it has them.

    Args:
        model: Any; of one around another, as for whole images, the other is taken.
        kind: One of :data:`HEADS`.
        seed: The seed of fresh heads.

    Raises:
        UnfitMemberError: If it has no map that heads could read.
    """
    if isinstance(model, CentreNet) and model.kind == kind:
        return model
    classes, inner = model.num_classes or 1, model
    while isinstance(inner, Wrapped):
        inner = inner.inner
    return CentreNet(inner, classes, kind, seed)


def without_heads(model: SourceModel) -> SourceModel:
    """A network as it was before heads for objects were put on it, with a fresh classifier of one output.

    Args:
        model: Any.

    Returns:
        A copy of the network within, so that the detector stays whole; the same network if it has no such heads.
    """
    if not isinstance(model, CentreNet):
        return model
    inner = deepcopy(model.inner)
    inner.replace_head(1, seed=0, decoder=False)
    return inner


def make_heads(channels: int, num_classes: int, kind: str) -> tuple[nn.Module, nn.ModuleList]:
    """Neck and heads with fresh weights.

    Args:
        channels: Of the map that they read.
        num_classes: See :class:`CentreNet`.
        kind: Likewise.
    """
    heads, width = HEADS[kind], width_for(channels)
    neck = _neck(channels, width) if heads.has_neck else nn.Identity()
    made = [_head(width if heads.has_neck else channels, width, outputs) for outputs in heads.outputs(num_classes)]
    for place in heads.heat:
        nn.init.constant_(cast("Tensor", made[place][-1].bias), math.log(_PRIOR / (1 - _PRIOR)))
    return neck, nn.ModuleList(made)


def width_for(channels: int) -> int:
    """Channels of neck and heads: 256, as M21 A.3 has them on 720, and no more than the map itself has, but 64.

    On a map of 48 channels, 256 would be ten times the parameters and nineteen twentieths of the time of a network of
    a quarter of a million, and find no more.

    Args:
        channels: Of the map that they read.
    """
    return min(WIDTH, max(LEAST_WIDTH, channels))


def _neck(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=1),
        nn.Conv2d(width, width, kernel_size=3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _head(channels: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, outputs, kernel_size=3, padding=1),
    )
