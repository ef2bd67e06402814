"""What every source model can do, whoever made and trained it: the one interface that the rest of muster relies on.

Axis names: ``batch`` images, ``bands`` (channels) of the images, their ``height`` and ``width`` in pixels, ``channels``
of the feature map, ``classes`` that the model tells apart, ``map_height`` and ``map_width`` of the model's own
resolution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import cast

import torch
from jaxtyping import Float, Float32
from torch import SymInt, Tensor, nn

from muster.data.preprocessing import Preprocessing
from muster.errors import ConfigError
from muster.models.blueprint import Blueprint
from muster.models.padding import Part, pad_to, padded_size
from muster.models.prediction import probabilities_of

BLANK_SIDE = 64
"""Side of the blank image that networks are looked at with, in pixels, if they take it."""


class SourceModel(nn.Module, ABC):
    """A network that scores every class at every place of an image, at its own resolution.

    Attributes:
        architecture: What a reader calls it.
        blueprint: How it is built again.
        feature_channels: Channels of the map that the head reads.
        depth: Layers: convolutions and linear layers on the longest path from image to scores, head included.
        preprocessing: How it wants its images; ``None`` for the way in which the target's are shown.
        in_channels: Channels of the images that it takes.
        holds: What it takes, images or texts, as :attr:`muster.data.DatasetSpec.holds` says it of datasets.
        started_from: Where the weights that it was built with come from, see
            :class:`muster.models.pretraining.scheme.StartedBody`.
    """

    architecture: str
    blueprint: Blueprint
    feature_channels: int
    depth: int
    preprocessing: Preprocessing | None = None
    in_channels: int = 3
    holds: str = "images"

    def __init__(self) -> None:
        """Nothing is known yet of where weights come from."""
        super().__init__()
        self.started_from: dict[str, str] = {}

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of classes that the present head tells apart."""

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Number of weights and biases that influence the scores, head included."""

    @property
    @abstractmethod
    def minimum_side(self) -> int:
        """The smallest side of what its network can see, in pixels; smaller images are padded."""

    @property
    def side_multiple(self) -> int:
        """What the sides of what its network sees are multiples of; other images are padded."""
        return 1

    def pad(self, images: Float[Tensor, "batch bands height width"]) -> Float[Tensor, "batch bands _ _"]:
        """Pad images to what the network needs, below and on the right, with the 0 of normalised images.

        A subclass does that first with all images that it is given. Its maps are those of the padded images.

        Args:
            images: Prepared.

        Returns:
            The images; the same tensor if nothing is needed.
        """
        return pad_to(images, self._padded_size(images))

    def part_of(self, images: Float[Tensor, "batch bands height width"]) -> Part | None:
        """Which part of a map of these images shows them.

        Args:
            images: Prepared, not padded.

        Returns:
            What :func:`muster.models.upsample_probabilities` takes; ``None`` for all of it.
        """
        shown, padded = (images.shape[-2], images.shape[-1]), cast("tuple[int, int]", self._padded_size(images))
        return None if shown == padded else Part(*shown, *padded)

    def _padded_size(self, images: Tensor) -> tuple[int | SymInt, int | SymInt]:
        return padded_size(images.shape[-2], images.shape[-1], self.side_multiple, self.minimum_side)

    @property
    def scores_features(self) -> bool:
        """Whether :meth:`score` makes the scores of the map of :meth:`features`, and needs nothing else."""
        return True

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    def blank_image(self) -> Float[Tensor, "1 bands _ _"]:
        """An image to look at the network with, where only the way through it counts; small, to be quick."""
        side = max(BLANK_SIDE, self.minimum_side)
        return self.blank_images(1, side, side)

    def blank_images(self, count: int, height: int, width: int) -> Float[Tensor, "_ bands _ _"]:
        """Images that show nothing, to time the network with or to see what it makes of a size.

        Args:
            count: How many.
            height: Their rows, as prepared.
            width: Their columns.
        """
        return torch.zeros(count, self.in_channels, height, width, device=self.device)

    @abstractmethod
    def features(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """The map that the head reads.

        Args:
            images: Prepared.

        Returns:
            ``channels`` is :attr:`feature_channels`. It is the map of the padded images, see :meth:`part_of`.

        Raises:
            ValueError: If the model cannot take images of this size, as one that takes a single size.
        """

    @abstractmethod
    def features_and_embeddings(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> tuple[Float[Tensor, "batch channels map_height map_width"], list[Float[Tensor, "batch _"]]]:
        """:meth:`features`, and how each stage sees each image as a whole, in one pass.

        Args:
            images: Prepared.

        Returns:
            The map, and for each stage, first to last, the spatial mean of its output over the image.

        Raises:
            ValueError: As :meth:`features`.
        """

    @abstractmethod
    def score(
        self, features: Float[Tensor, "batch channels map_height map_width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """Scores before softmax, from :meth:`features`."""

    def read(
        self, images: Float[Tensor, "batch bands height width"], stages: bool = False
    ) -> tuple[
        Float[Tensor, "batch classes map_height map_width"],
        Float[Tensor, "batch channels _ _"],
        list[Float[Tensor, "batch _"]],
    ]:
        """All that is known of images, in one pass.

        Args:
            images: Prepared.
            stages: Whether the embeddings of :meth:`features_and_embeddings` are wanted.

        Returns:
            Scores as :meth:`forward` gives them, the map of :meth:`features`, and the embeddings, none if they are not
            wanted.

        Raises:
            ValueError: As :meth:`features`.
        """
        features, embeddings = self.features_and_embeddings(images) if stages else (self.features(images), [])
        return self.score(features), features, embeddings

    def forward(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """Scores (before softmax) at the model's own resolution.

        Args:
            images: Prepared.

        Returns:
            One map per class.

        Raises:
            ValueError: As :meth:`features`.
        """
        return self.score(self.features(images))

    @torch.no_grad()
    def predict(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float32[Tensor, "batch classes map_height map_width"]:
        """Class probabilities at the model's own resolution.

        Args:
            images: Prepared, on the model's device; the model is in evaluation mode.

        Returns:
            Probabilities in float32, whatever the precision of the forward pass.

        Raises:
            ValueError: As :meth:`features`.
        """
        return probabilities_of(self(images))

    def adapt_channels(self, channels: int) -> None:
        """Take images of another number of channels from now on.

        Args:
            channels: What images have.

        Raises:
            ConfigError: If it cannot.
        """
        if channels != self.in_channels:
            raise ConfigError(
                f"{self.architecture!r} takes images of {self.in_channels} channels and cannot be adapted to "
                f"{channels}: only networks that muster builds can. Give images of that many, or use one of those."
            )

    @abstractmethod
    def replace_head(self, num_classes: int, seed: int, decoder: bool = True) -> None:
        """Put a fresh linear classifier on the unchanged rest, on the same device.

        Args:
            num_classes: What the new head tells apart; at least 1.
            seed: The seed of its initial weights. The global random state is neither read nor changed.
            decoder: Whether a backbone, which has no decoder yet, gets a fresh one, which has to be trained; without
                one the classifier reads the maps of its stages. Other models keep the decoder that they have.

        Raises:
            ValueError: If ``num_classes`` is not positive.
        """

    def freeze(self) -> None:
        """Train nothing of it any more."""
        self.eval().requires_grad_(False)
