"""Networks that muster trains itself: a body that makes feature maps, and a linear head on the last.

Axis names: ``batch`` images, ``bands`` (channels) of the images, their ``height`` and ``width`` in pixels, ``channels``
of the feature map, ``classes`` that the head tells apart, ``map_height`` and ``map_width`` of the network's own
resolution.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from muster.data.preprocessing import SIDE_MULTIPLE
from muster.errors import ConfigError
from muster.models._graph import trace
from muster.models.blueprint import Blueprint
from muster.models.first_layer import RGB, adapt_first_layer
from muster.models.padding import Part, spatial_mean
from muster.models.source_model import SourceModel

CHANNELS = "channels"
"""Key of a blueprint's config for networks that take other images than of three channels."""

HEADS = "heads"
"""Likewise for networks with a head for each of several sources, see :mod:`muster.models.source_heads`."""

StageMaps: TypeAlias = list[list[Tensor]]
"""What each stage puts out, first to last; a stage has one map per branch, finest first, all ``[batch, c, h, w]``."""


class Body(nn.Module):
    """Everything before the head. A subclass defines :meth:`forward`.

    Attributes:
        feature_channels: Channels of the last stage, all branches together.
        minimum_side: The smallest side, in pixels, of what the architecture can see.
        side_multiple: What both sides of an image must be multiples of.
        in_channels: Channels of the images that it is built for.
        holds: What it takes, as :attr:`muster.data.DatasetSpec.holds` says it of datasets.
    """

    side_multiple: int = SIDE_MULTIPLE
    in_channels: int = RGB
    holds: str = "images"

    def __init__(self, feature_channels: int, minimum_side: int = SIDE_MULTIPLE) -> None:
        """Say what comes out and what goes in.

        Args:
            feature_channels: See the class.
            minimum_side: See the class.
        """
        super().__init__()
        self.feature_channels = feature_channels
        self.minimum_side = minimum_side

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of every stage; the branches of the last one, at the size of its finest, are the features.

        Args:
            images: Normalised images; both sides are multiples of :attr:`side_multiple`.

        Returns:
            The stages, first to last.
        """
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """What a blueprint has to say beside the name of the architecture; nothing where that says all."""
        return {}

    def blank_images(self, count: int, height: int, width: int, device: torch.device) -> Tensor:
        """See :meth:`SourceModel.blank_images`."""
        return torch.zeros(count, self.in_channels, height, width, device=device)

    def without_decoder(self) -> Body:
        """What a backbone has weights for: the encoder, which shares its weights with this body; itself if that is all.

        Returns:
            A body whose stages are the encoder's.
        """
        return self


class Segmenter(SourceModel):
    """A body with a head.

    Parameters that cannot influence the scores (some encoders keep layers that their decoder does not read) are frozen
    and not counted: distributed training insists that every trainable parameter takes part.

    Attributes:
        architecture: Name that :func:`muster.models.build_model` takes.
        num_classes: Number of score maps.
        feature_channels: Channels of the map that the head reads.
        depth: Layers: convolutions and linear layers on the longest path from image to scores, head included.
        body: Everything before the head; its weights are named ``body.*``.
        head: The final classifier, a 1x1 convolution, or several of them (:mod:`muster.models.source_heads`); its
            weights are named ``head.*``.
    """

    def __init__(self, architecture: str, body: Body, num_classes: int, seed: int = 0) -> None:
        """Put a fresh head on a body.

        Args:
            architecture: Name to carry.
            body: The network before its head.
            num_classes: At least 1.
            seed: The seed of the head's initial weights.
        """
        super().__init__()
        self.architecture = architecture
        self.blueprint = Blueprint("native", architecture, body.described())
        self._take(body)
        self.head: nn.Module = linear_head(body.feature_channels, num_classes, seed)
        self._num_classes = num_classes
        self._settle()

    @property
    def num_classes(self) -> int:
        """Number of classes that the present head tells apart."""
        return self._num_classes

    @property
    def num_parameters(self) -> int:
        """Number of weights and biases that influence the scores, head included."""
        return sum(parameter.numel() for parameter in self.parameters()) - self._unused_parameters

    @property
    def minimum_side(self) -> int:
        """The smallest side of what its network can see, in pixels; smaller images are padded."""
        return self.body.minimum_side

    @property
    def side_multiple(self) -> int:
        """What the sides of what its network sees are multiples of; other images are padded."""
        return self.body.side_multiple

    def features(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """The map before the final classifier: the last stage, its branches upsampled to the finest and concatenated.

        Args:
            images: Normalised images.

        Returns:
            The map that the head reads, ``channels`` being :attr:`feature_channels`.

        Raises:
            ValueError: If the network cannot take images of this size.
        """
        return joined(self._stages(images)[-1])

    def score(
        self, features: Float[Tensor, "batch channels map_height map_width"]
    ) -> Float[Tensor, "batch classes map_height map_width"]:
        """Scores before softmax, from :meth:`features`."""
        scores: Tensor = self.head(features)
        return scores

    def stage_embeddings(self, images: Float[Tensor, "batch bands height width"]) -> list[Float[Tensor, "batch _"]]:
        """How each stage sees each image as a whole.

        Args:
            images: Normalised images.

        Returns:
            For each stage, first to last, the spatial mean of its output over the image; branches concatenated, finest
            first.

        Raises:
            ValueError: See :meth:`features`.
        """
        return embeddings_of(self._stages(images), self.part_of(images))

    def features_and_embeddings(
        self, images: Float[Tensor, "batch bands height width"]
    ) -> tuple[Float[Tensor, "batch channels map_height map_width"], list[Float[Tensor, "batch _"]]]:
        """:meth:`features` and :meth:`stage_embeddings` in one pass.

        Args:
            images: Normalised images.

        Returns:
            The map that the head reads, and what each stage makes of each image.

        Raises:
            ValueError: See :meth:`features`.
        """
        stages = self._stages(images)
        return joined(stages[-1]), embeddings_of(stages, self.part_of(images))

    def adapt_channels(self, channels: int) -> None:
        """Take images of another number of channels from now on, see :func:`muster.models.first_layer`.

        Args:
            channels: What images have.

        Raises:
            ConfigError: If the first layer cannot be adapted, or was adapted to another number before.
        """
        if channels == self.in_channels or self.blueprint.source != "native":
            super().adapt_channels(channels)  # networks from elsewhere are built again as they came
            return
        if self.in_channels != RGB:
            raise ConfigError(
                f"{self.architecture!r} was made for images of {self.in_channels} channels, and only networks for red, "
                f"green and blue can be adapted to others ({channels})."
            )
        adapt_first_layer(self.body, channels, self.architecture)
        self.in_channels = channels
        self.blueprint = replace(self.blueprint, config={**self.blueprint.config, CHANNELS: channels})

    def replace_head(self, num_classes: int, seed: int, decoder: bool = True) -> None:  # noqa: ARG002 (it has its own)
        """See :meth:`SourceModel.replace_head`."""
        like = next(self.body.parameters())
        self.head = linear_head(self.feature_channels, num_classes, seed).to(device=like.device, dtype=like.dtype)
        self._num_classes = num_classes
        if HEADS in self.blueprint.config:
            config = {key: value for key, value in self.blueprint.config.items() if key != HEADS}
            self.blueprint = replace(self.blueprint, config=config)

    def _stages(self, images: Tensor) -> StageMaps:
        """Run the body on images, padded to a size that it can take."""
        stages: StageMaps = self.body(self.pad(images))
        return stages

    def _take(self, body: Body) -> None:
        """Have a body, and what it says of itself."""
        self.body = body
        self.feature_channels, self.in_channels, self.holds = body.feature_channels, body.in_channels, body.holds

    def blank_images(self, count: int, height: int, width: int) -> Tensor:
        """See :meth:`SourceModel.blank_images`."""
        if self.in_channels != self.body.in_channels:  # adapted
            return super().blank_images(count, height, width)
        return self.body.blank_images(count, height, width, self.device)

    def _settle(self) -> None:
        """Find the depth, and freeze parameters that the scores do not depend on, by one pass over a blank image."""
        training = self.training
        self.eval()  # batch statistics must not move, and one image may be a single pixel for a batch norm
        with torch.inference_mode(False), torch.enable_grad():
            self.depth, used = trace(self(self.blank_image()))
        self.train(training)
        self._unused_parameters = 0
        for parameter in self.parameters():
            if parameter not in used:
                parameter.requires_grad_(False)
                self._unused_parameters += parameter.numel()


def embeddings_of(stages: StageMaps, part: Part | None) -> list[Tensor]:
    """How each stage sees each image as a whole.

    Args:
        stages: What they put out.
        part: Where the images lie in it; ``None`` if they were not padded.

    Returns:
        For each stage the spatial mean over the image ``[batch, _]``, its branches concatenated.
    """
    return [torch.cat([spatial_mean(maps, part) for maps in stage], dim=1) for stage in stages]


def joined(branches: list[Tensor]) -> Tensor:
    """Upsample branches to the size of the first, and concatenate them.

    Args:
        branches: ``[batch, c, h, w]``, each of its own channels and size.

    Returns:
        One map.
    """
    size = branches[0].shape[-2:]
    rest = [interpolate(maps, size=size, mode="bilinear", align_corners=False) for maps in branches[1:]]
    return torch.cat([branches[0], *rest], dim=1) if rest else branches[0]


def linear_head(channels: int, num_classes: int, seed: int) -> nn.Conv2d:
    """A 1x1 convolution with seeded weights, uniform within 1 / sqrt(channels), and zero biases.

    Args:
        channels: Of the map that it reads.
        num_classes: At least 1.
        seed: Of its weights.

    Returns:
        The head, on the CPU.

    Raises:
        ValueError: If ``num_classes`` is not positive.
    """
    if num_classes < 1:
        raise ValueError(f"Expected a positive number of classes, but got num_classes={num_classes}.")
    # On a real device the constructor would draw from the global generator.
    head = nn.Conv2d(channels, num_classes, kernel_size=1, device="meta").to_empty(device="cpu")
    bound = channels**-0.5
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.weight.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
    return head
