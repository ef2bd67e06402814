"""The predictions of a selection's predictor on whole images, for reports: the same as at the probe pixels.

Axis names: ``classes`` the target's, ``z`` a member's own classes, ``h`` and ``w`` its own resolution, ``height`` and
``width`` the wanted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from muster.models import SourceModel
from muster.models.prediction import upsample_probabilities


@dataclass(frozen=True, eq=False)
class TranslatedClasses:
    """EEP: P(target class | source class), applied to the member's own prediction.

    Attributes:
        table: float64 ``[classes, z]``.
    """

    table: Tensor
    name: str = "eep"

    def predict(
        self,
        model: SourceModel,
        image: Float[Tensor, "1 bands y x"],
        place: int,  # noqa: ARG002 (the linear probe asks)
        size: tuple[int, int],
    ) -> Float[Tensor, "classes height width"]:
        """Probabilities of the target's classes.

        Args:
            model: The member's network, in evaluation mode.
            image: Prepared, on its device.
            place: The place of the image among the training images that the selection looked at; the table is the same
                for all.
            size: Wanted rows and columns.

        Returns:
            One map a class.
        """
        probabilities = model.predict(image)
        # Turning source into target classes commutes with interpolation, and is cheaper before it.
        maps = torch.einsum("cz,bzhw->bchw", self.table.to(probabilities), probabilities)
        return upsample_probabilities(maps, size, model.part_of(image))[0]


@dataclass(frozen=True, eq=False)
class ProbedFeatures:
    """Linear probe: the classifiers that were fitted to half of the probe images each, applied to the feature map.

    Attributes:
        classifiers: float64 ``[2, classes, channels + 1]``, see :class:`muster.metrics.linear_probe.FittedLinearProbe`.
        readers: For each image with probe pixels, by its place among the images looked at, which of the two was not
            fitted to it.
    """

    classifiers: Tensor
    readers: Mapping[int, int]
    name: str = "linear_probe"

    @torch.no_grad()
    def predict(
        self, model: SourceModel, image: Float[Tensor, "1 bands y x"], place: int, size: tuple[int, int]
    ) -> Float[Tensor, "classes height width"]:
        """See :meth:`TranslatedClasses.predict`; as in the score, no image is judged by a fit that saw it."""
        features = model.features(image).double()
        classifier = self.classifiers[self.readers.get(place, 0)].to(features)
        scores = torch.einsum("cd,bdhw->bchw", classifier[:, :-1], features) + classifier[:, -1, None, None]
        # Scores are linear in the features, which the probe interpolates: interpolated scores are the same.
        return upsample_probabilities(scores, size, model.part_of(image))[0].softmax(dim=0).float()


ImagePredictor: TypeAlias = TranslatedClasses | ProbedFeatures
"""A member as a classifier of the target's classes on whole images; ``name`` is the predictor's name in records."""
