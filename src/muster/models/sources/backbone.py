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
from muster.models.segmenter import Segmenter, StageMaps, embeddings_of, joined
from muster.models.source_model import SourceModel

FINEST = 4
"""Features are made at a quarter of the image's sides: finer stages are averaged down to it, coarser ones upsampled."""


class Backbone(Segmenter):
    """A network of muster's own with a pre-trained encoder, and decoder and head yet to come.

    Its features are the maps of all encoder stages side by side. It predicts nothing until it has a head: either one
    that reads those maps, or one behind a decoder that begins with fresh weights; then it is a native network like any
    other.
    """

    def __init__(self, network: Segmenter) -> None:
        """Take over a network.

        Args:
            network: Built by :func:`muster.models.build_model`, with weights for its encoder.
        """
        SourceModel.__init__(self)
        self.architecture, self.blueprint = network.architecture, Blueprint("backbone", network.architecture)
        self.started_from = network.started_from
        self._take(network.body.without_decoder())
        self.head = nn.Identity()
        self._num_classes = 0
        self._has_decoder = False
        self.eval()
        with torch.no_grad():
            self.feature_channels = self.features(self.blank_image()).shape[1]
        self._settle()

    def features(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """See :meth:`SourceModel.features`."""
        if self._has_decoder:
            return super().features(images)
        return _at_a_quarter(self._stages(images), self.pad(images))

    def features_and_embeddings(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> tuple[Float[Tensor, "batch channels map_height map_width"], list[Float[Tensor, "batch _"]]]:
        """See :meth:`SourceModel.features_and_embeddings`."""
        if self._has_decoder:
            return super().features_and_embeddings(images)
        stages = self._stages(images)
        return _at_a_quarter(stages, self.pad(images)), embeddings_of(stages, self.part_of(images))

    def score(
        self, features: Float[Tensor, "batch channels map_height map_width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """See :meth:`SourceModel.score`; no maps without a head, as there are no source classes."""
        return super().score(features) if self._num_classes else features[:, :0]

    def replace_head(self, num_classes: int, seed: int, decoder: bool = True) -> None:
        """See :meth:`SourceModel.replace_head`."""
        if decoder and not self._has_decoder:
            self._add_decoder(seed)
        super().replace_head(num_classes, seed, decoder)
        if not self._has_decoder:
            self.blueprint = Blueprint("backbone", self.architecture, new_head=True)
        self._settle()  # what the scores depend on is other than before

    def _add_decoder(self, seed: int) -> None:
        """Read the decoder's map from now on; its weights are those of a network built with this seed."""
        fresh = build_model(self.architecture, 1, seed=seed).body
        fresh.without_decoder().load_state_dict(self.body.state_dict())
        self.body = fresh.to(self.device).train(self.training)
        self.feature_channels = self.body.feature_channels
        self.blueprint = Blueprint("native", self.architecture)
        self._has_decoder = True


def _at_a_quarter(stages: StageMaps, images: Tensor) -> Tensor:
    maps = [joined(stage) for stage in stages]
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
        if network.holds != "images":
            raise entry.error(
                "from: backbone is for networks of images. Encoders of texts come with from: transformers"
            )
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
