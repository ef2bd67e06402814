"""The fully convolutional network (FCN) on a dilated ResNet, as torchvision has it.

Axis names: ``batch`` images, ``bands`` (channels), ``height`` and ``width`` of the images in pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.segmentation import FCN

from muster.data.statistics import ChannelStatistics
from muster.models.family import FAMILIES, Family
from muster.models.hub import IMAGENET, hub_weights
from muster.models.segmenter import Body, StageMaps

BACKBONES = {"fcn_resnet50": "resnet50"}
"""The architecture with its backbone; both are torchvision's names."""


class FCNBody(Body):
    """A ResNet whose last two stages keep 1/8 of the resolution, and a 3x3 convolution; tensors named as torchvision's.

    Source: Long et al. 2015, https://arxiv.org/abs/1411.4038, as torchvision builds it, without its auxiliary
    classifier.
    """

    def __init__(self, network: FCN) -> None:
        """Take over all layers but the last.

        Args:
            network: What torchvision built.
        """
        classifier = list(network.classifier.children())
        super().__init__(feature_channels=classifier[-1].in_channels)
        self.backbone = network.backbone
        self.classifier = nn.Sequential(*classifier[:-1])

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of the four blocks of the ResNet (1/4, then 1/8 three times), then what the head reads."""
        maps, stages = images, []
        for name, layer in self.backbone.items():
            maps = layer(maps)
            if name.startswith("layer"):
                stages.append([maps])
        return [*stages, [self.classifier(maps)]]


class FCNFamily(Family):
    """The network of this file."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Family.names`."""
        return tuple(BACKBONES)

    def takes(self, architecture: str) -> bool:
        """See :meth:`Family.takes`."""
        return architecture in BACKBONES

    def build(self, architecture: str, imagenet: bool) -> FCNBody:
        """See :meth:`Family.build`."""
        network = get_model(architecture, weights=None, weights_backbone=None, num_classes=1, aux_loss=False)
        assert isinstance(network, FCN)
        body = FCNBody(network)
        if imagenet:
            body.backbone.load_state_dict(published_imagenet(BACKBONES[architecture]), strict=False)
        return body

    def backbone(self, architecture: str) -> str:
        """See :meth:`Family.backbone`; timm's networks of these names have the same tensors."""
        return BACKBONES[architecture]

    def backbone_keys(self, body: Body) -> dict[str, str]:
        """See :meth:`Family.backbone_keys`."""
        return {key: key.removeprefix("backbone.") for key in body.state_dict() if key.startswith("backbone.")}

    def hub_repository(self, architecture: str) -> str:  # noqa: ARG002 (there is one)
        """See :meth:`Family.hub_repository`."""
        return "pytorch/vision"

    def statistics(self, architecture: str) -> ChannelStatistics:  # noqa: ARG002 (there is one)
        """See :meth:`Family.statistics`."""
        return IMAGENET


def published_imagenet(backbone: str) -> dict[str, Tensor]:
    """ImageNet weights of torchvision's own training, from torch's cache or the net; those of its classifier left out.

    H22 takes the weights that torchvision published first.

    Args:
        backbone: A ResNet, by torchvision's name.

    Returns:
        By torchvision's names.

    Raises:
        PretrainingError: If they cannot be fetched.
    """
    weights = get_model_weights(backbone)["IMAGENET1K_V1"]
    with hub_weights(f"the ImageNet weights of backbone {backbone!r}", backbone):
        tensors = torch.hub.load_state_dict_from_url(
            weights.url, progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}


FAMILIES.add("fcn", FCNFamily())
