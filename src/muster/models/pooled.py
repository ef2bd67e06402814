"""Networks that say one thing of a whole image: the map that the head reads is averaged over the image first.

Networks that are made for whole images have a map of a single place, whose mean changes nothing.

Axis names: as in :mod:`muster.models.source_model`.
"""

from __future__ import annotations

from dataclasses import asdict

from jaxtyping import Float
from torch import Tensor

from muster.models.blueprint import INNER, Blueprint
from muster.models.padding import Part, spatial_mean
from muster.models.source_model import SourceModel
from muster.models.wrapped import Wrapped

POOLED = "pooled"
"""The model source that builds such networks."""


class Pooled(Wrapped):
    """Any network, of which one prediction is made for an image: its maps have a single place.

    Attributes:
        inner: The network.
    """

    def __init__(self, inner: SourceModel) -> None:
        """Take a network as it is.

        Args:
            inner: Not pooled itself.
        """
        super().__init__(inner)
        self.depth = inner.depth
        self._describe()

    def _describe(self) -> None:
        inner = self.inner
        self.architecture, self.feature_channels = inner.architecture, inner.feature_channels
        self.blueprint = Blueprint(POOLED, inner.architecture, {INNER: asdict(inner.blueprint)})

    @property
    def num_classes(self) -> int:
        """See :attr:`SourceModel.num_classes`."""
        return self.inner.num_classes

    @property
    def num_parameters(self) -> int:
        """See :attr:`SourceModel.num_parameters`."""
        return self.inner.num_parameters

    @property
    def scores_features(self) -> bool:
        """See :attr:`SourceModel.scores_features`."""
        return self.inner.scores_features

    def part_of(self, images: Float[Tensor, "batch bands height width"]) -> Part | None:  # noqa: ARG002
        """All of it: padding was left out of the mean."""
        return None

    def features(self, images: Float[Tensor, "batch bands height width"]) -> Float[Tensor, "batch channels 1 1"]:
        """The mean of the map over the image."""
        return self._mean(self.inner.features(images), images)

    def features_and_embeddings(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> tuple[Float[Tensor, "batch channels 1 1"], list[Float[Tensor, "batch _"]]]:
        """See :meth:`SourceModel.features_and_embeddings`."""
        features, embeddings = self.inner.features_and_embeddings(images)
        return self._mean(features, images), embeddings

    def _mean(self, maps: Tensor, images: Tensor) -> Tensor:
        return spatial_mean(maps, self.inner.part_of(images)).to(maps.dtype)[:, :, None, None]

    def score(self, features: Float[Tensor, "batch channels 1 1"]) -> Float[Tensor, "batch classes 1 1"]:
        """See :meth:`SourceModel.score`."""
        return self.inner.score(features)

    def read(
        self, images: Float[Tensor, "batch bands height width"], stages: bool = False
    ) -> tuple[Float[Tensor, "batch classes 1 1"], Float[Tensor, "batch channels 1 1"], list[Float[Tensor, "batch _"]]]:
        """See :meth:`SourceModel.read`; scores that are not made of the features alone are averaged themselves."""
        if self.scores_features:
            return super().read(images, stages)
        scores, features, embeddings = self.inner.read(images, stages)
        return self._mean(scores, images), self._mean(features, images), embeddings

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> Float[Tensor, "batch classes 1 1"]:
        """See :meth:`SourceModel.forward` and :meth:`read`."""
        return super().forward(images) if self.scores_features else self._mean(self.inner(images), images)

    def replace_head(self, num_classes: int, seed: int, decoder: bool = True) -> None:  # noqa: ARG002
        """See :meth:`SourceModel.replace_head`; never with a fresh decoder, as there is nothing to decode."""
        self.inner.replace_head(num_classes, seed, decoder=False)
        self._describe()


def pooled(model: SourceModel) -> SourceModel:
    """A network that says one thing of a whole image; the same one if it does so already."""
    return model if isinstance(model, Pooled) else Pooled(model)
