"""A pre-trained backbone that was never trained to segment: no source classes, and its encoder's maps as features.

Axis names: as in :mod:`muster.models.source_model`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from muster.data import Preprocessing
from muster.models.adoption import Adopted, Adoption
from muster.models.blueprint import Blueprint
from muster.models.build import build_model, family_of
from muster.models.model_source import SOURCES, ModelSource
from muster.models.padding import spatial_mean
from muster.models.segmenter import Segmenter, joined
from muster.models.source_model import SourceModel

FINEST = 4
"""Features are made at a quarter of the image's sides: finer stages are averaged down to it, coarser ones upsampled."""


class Backbone(Segmenter):
    """A network of muster's own with a pre-trained encoder, and decoder and head yet to come.

    Its features are the maps of all encoder stages side by side. It predicts nothing until it has a head: then its
    decoder begins with fresh weights, and it is a native network like any other.
    """

    def __init__(self, network: Segmenter) -> None:
        """Take over a network.

        Args:
            network: Built by :func:`muster.models.build_model`, with weights for its encoder.
        """
        super().__init__(network.architecture, network.body, 1)
        self.started_from = network.started_from
        self.head = nn.Identity()
        self.blueprint = Blueprint("backbone", network.architecture)
        self._num_classes = 0
        self.eval()
        with torch.no_grad():
            self.feature_channels = sum(maps.shape[1] for maps in self._encoded(self.blank_image()))

    @property
    def is_bare(self) -> bool:
        """Whether it has no head yet."""
        return self._num_classes == 0

    def features(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """See :meth:`SourceModel.features`."""
        return self._at_a_quarter(self._encoded(images), self.pad(images)) if self.is_bare else super().features(images)

    def features_and_embeddings(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> tuple[Float[Tensor, "batch channels map_height map_width"], list[Float[Tensor, "batch _"]]]:
        """See :meth:`SourceModel.features_and_embeddings`."""
        if not self.is_bare:
            return super().features_and_embeddings(images)
        maps = self._encoded(images)
        return self._at_a_quarter(maps, self.pad(images)), [spatial_mean(each, self.part_of(images)) for each in maps]

    def score(
        self, features: Float[Tensor, "batch channels map_height map_width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """No maps, as there are no source classes."""
        return features[:, :0] if self.is_bare else super().score(features)

    def replace_head(self, num_classes: int, seed: int) -> None:
        """Put a fresh decoder and a fresh head on the encoder.

        Args:
            num_classes: What the new head tells apart; at least 1.
            seed: The seed of their initial weights.

        Raises:
            ValueError: If ``num_classes`` is not positive.
        """
        if self.is_bare and self.body.encoder_stages is not None:
            encoder = {key: value for key, value in self.body.state_dict().items() if key.startswith("encoder.")}
            fresh = build_model(self.architecture, max(1, num_classes), seed=seed).body
            fresh.load_state_dict(encoder, strict=False)
            self.body = fresh.to(self.device).train(self.training)
        self.feature_channels = self.body.feature_channels
        super().replace_head(num_classes, seed)
        self.blueprint = Blueprint("native", self.architecture)

    def _encoded(self, images: Tensor) -> list[Tensor]:
        """The last map of every encoder stage; the decoder's is not among them."""
        return [joined(stage) for stage in self._stages(images)[: self.body.encoder_stages]]

    def _at_a_quarter(self, maps: list[Tensor], images: Tensor) -> Tensor:
        height, width = (max(1, side // FINEST) for side in images.shape[-2:])
        reduced = [adaptive_avg_pool2d(each, (height, width)) if each.shape[-2] > height else each for each in maps]
        return joined([images.new_zeros(len(images), 0, height, width), *reduced])


class BackboneSource(ModelSource):
    """``from: backbone``: ``architecture`` and ``pretraining`` as for trained members; ``weights`` may name a file."""

    def adopt(self, entry: Adoption) -> Adopted:
        """See :meth:`ModelSource.adopt`."""
        entry.required("architecture", "pretraining")
        entry.unused("model", "encoder", "layer", "classes", "arguments", "data")
        network = build_model(str(entry.architecture), 1, entry.weights or entry.pretraining)
        model = Backbone(network)
        model.preprocessing = entry.preprocessing(_preprocessing(str(entry.architecture)))
        return Adopted(model, (), pretraining=entry.pretraining)

    def build(self, blueprint: Blueprint, num_classes: int) -> SourceModel:  # noqa: ARG002 (there are none)
        """See :meth:`ModelSource.build`."""
        return Backbone(build_model(blueprint.architecture, 1))


def _preprocessing(architecture: str) -> Preprocessing | None:
    """What the backbone is usually pre-trained with, if that is known."""
    statistics = family_of(architecture).statistics(architecture)
    return None if statistics is None else Preprocessing(statistics)


SOURCES.add("backbone", BackboneSource())
