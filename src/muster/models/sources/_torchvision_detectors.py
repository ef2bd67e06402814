"""Detectors of torchvision as members: their backbones, whose finest map heads for objects are put on.

What a detector itself says is boxes, of which no probability of a class at a place can be read. So it has no source
classes here, as a backbone has none, and is compared by its features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model

from muster.data import Preprocessing
from muster.data.preprocessing import SIDE_MULTIPLE
from muster.models.adapted import Adapted
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.hub import IMAGENET
from muster.models.segmenter import Body, StageMaps
from muster.models.tensors import load_tensors

DETECTOR = "detector"
"""Key of a detector's blueprint for the name of its builder."""

_PREFIX = "backbone."

_LEAST_OF_SSD = 320
"""SSD's last convolutions need an image of 300 pixels; sides are padded to multiples of 32."""


class _Levels(Body):
    """The maps of a detector's backbone, the finest last."""

    def __init__(self, backbone: nn.Module, least: int) -> None:
        super().__init__(0, minimum_side=least)
        self.backbone = backbone
        with torch.no_grad():
            self.feature_channels = self(torch.zeros(1, 3, max(64, least), max(64, least)))[-1][0].shape[1]

    def forward(self, images: Tensor) -> StageMaps:
        """See :class:`Body`."""
        return [[each] for each in reversed(list(self.backbone(images).values()))]


class Detector(Adapted):
    """A detector without its heads; it predicts nothing until it has others."""

    def score(
        self, features: Float[Tensor, "batch channels map_height map_width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """See :meth:`SourceModel.score`; no maps without a head."""
        return super().score(features) if self._num_classes else features[:, :0]


def adopt_detector(entry: Adoption, tensors: dict[str, Tensor], licence: str) -> Adopted:
    """Take over a detector.

    Args:
        entry: What the user says of it.
        tensors: Those of the whole detector, or of its backbone alone.
        licence: Terms of the weights, if they are known.

    Raises:
        ConfigError: If the weights are of another one.
    """
    model = detector(entry.model)
    found = {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}
    load_tensors(model.body.get_submodule("backbone"), found or tensors, Path(str(entry.weights)).name)
    model.preprocessing = entry.preprocessing(Preprocessing(IMAGENET))
    return Adopted(model, (), licence)


def detector(builder: str) -> Detector:
    """Build one; its weights do not matter."""
    network: Any = get_model(builder, weights=None, weights_backbone=None)
    network.eval()
    body = _Levels(network.backbone, _LEAST_OF_SSD if builder.startswith("ssd300") else SIDE_MULTIPLE)
    model = Detector(Blueprint("torchvision", builder, {DETECTOR: builder}), body, nn.Identity(), 0)
    model.eval()
    return model
