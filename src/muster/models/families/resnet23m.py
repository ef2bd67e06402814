"""ResNet23M: a high-resolution ResNet-50, cut to the size of a small HRNet.

Axis names: ``batch`` images, ``bands`` (channels), ``height`` and ``width`` of the images in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.resnet import Bottleneck, ResNet

from muster.data.statistics import ChannelStatistics
from muster.models.families.fcn import published_imagenet
from muster.models.family import FAMILIES, Family
from muster.models.hub import IMAGENET
from muster.models.segmenter import Body, StageMaps

NAME = "resnet23m"

BACKBONE = "resnet50"
"""What it has the weights of, as torchvision and timm call it."""

DILATIONS = (1, 6, 12, 18, 24)
"""Of the five parallel convolutions: the four of DeepLab's spatial pyramid, and the plain one beside them (chosen)."""

WIDTH = 216
"""Channels of each of the five (chosen, so that the body has 22.97 M parameters; each channel more adds 23 050)."""


class CutBottleneck(nn.Module):
    """The first two of the three convolutions of a bottleneck block, without its shortcut; named as in the block."""

    def __init__(self, block: Bottleneck) -> None:
        """Take over its layers.

        Args:
            block: torchvision's.
        """
        super().__init__()
        self.conv1, self.bn1 = block.conv1, block.bn1
        self.conv2, self.bn2 = block.conv2, block.bn2
        self.relu = block.relu

    def forward(self, maps: Float[Tensor, "batch _ height width"]) -> Float[Tensor, "batch _ height width"]:
        """As many channels as the second convolution gives; the size stays."""
        narrow = self.relu(self.bn1(self.conv1(maps)))
        widened: Tensor = self.relu(self.bn2(self.conv2(narrow)))
        return widened


class ResNet23MBody(Body):
    """A ResNet-50 that stays at 1/8 from its second stage on, its end cut off, and five parallel atrous convolutions.

    The third and fourth stages do not halve the resolution; their 3x3 convolutions have dilations of 2 and 4 instead
    (of 1 and 2 in the first block of each, as in torchvision). The third block of the fourth stage and the last
    convolution of its second block are left out: four convolutions with their normalisations, 5.5 M of 23.5 M
    parameters. The remaining map of 512 channels is read by five 3x3 convolutions side by side, with dilations of
    :data:`DILATIONS` and :data:`WIDTH` channels, each with a batch normalisation and a ReLU. Their concatenation goes
    to the linear head, which so adds up one linear classifier for each, as DeepLab adds up the scores of its branches.

    Source: A22 3.1 (Agostinelli et al., CVPR 2022) describes it in three sentences. It gives neither dilations nor
    widths, nor how the five are joined; whether its "last four layers of the last ResNet block" are convolutions is our
    reading, too: without four convolutions, five 3x3 ones fit into 23 M parameters, without the last four layers as
    Keras counts them (a convolution, its normalisation, the sum and the ReLU) they would have 24 channels each.
    Dilations: DeepLab, Chen et al. 2017, https://arxiv.org/abs/1606.00915; of the stages: Yu, Koltun and Funkhouser
    2017, https://arxiv.org/abs/1705.09914.
    """

    def __init__(self, network: ResNet) -> None:
        """Take over the layers of a ResNet-50 that are left, and make the five convolutions.

        Args:
            network: What torchvision built, its last two stages dilated.
        """
        super().__init__(feature_channels=len(DILATIONS) * WIDTH)
        whole, second, _ = network.layer4
        layers = {
            "conv1": network.conv1,
            "bn1": network.bn1,
            "relu": network.relu,
            "maxpool": network.maxpool,
            "layer1": network.layer1,
            "layer2": network.layer2,
            "layer3": network.layer3,
            "layer4": nn.Sequential(whole, CutBottleneck(second)),
        }
        self.trunk = nn.ModuleDict(layers)
        channels = second.conv2.out_channels
        self.branches = nn.ModuleList(_atrous(channels, dilation) for dilation in DILATIONS)

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of the four stages (1/4, then 1/8 three times), then those of the five convolutions (1/8)."""
        maps, stages = images, []
        for name, layer in self.trunk.items():
            maps = layer(maps)
            if name.startswith("layer"):
                stages.append([maps])
        return [*stages, [branch(maps) for branch in self.branches]]


def _atrous(channels: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(inplace=True),
    )


class ResNet23MFamily(Family):
    """The network of this file."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Family.names`."""
        return (NAME,)

    def takes(self, architecture: str) -> bool:
        """See :meth:`Family.takes`."""
        return architecture == NAME

    def build(self, architecture: str, imagenet: bool) -> ResNet23MBody:  # noqa: ARG002 (there is one)
        """See :meth:`Family.build`."""
        make: Callable[..., ResNet] = resnet50
        body = ResNet23MBody(make(weights=None, replace_stride_with_dilation=[False, True, True]))
        if imagenet:
            body.trunk.load_state_dict(published_imagenet(BACKBONE), strict=False)
        return body

    def backbone(self, architecture: str) -> str:  # noqa: ARG002 (likewise)
        """See :meth:`Family.backbone`."""
        return BACKBONE

    def backbone_keys(self, body: Body) -> dict[str, str]:
        """See :meth:`Family.backbone_keys`; torchvision and timm have the same names, and more of them."""
        return {key: key.removeprefix("trunk.") for key in body.state_dict() if key.startswith("trunk.")}

    def hub_repository(self, architecture: str) -> str:  # noqa: ARG002 (likewise)
        """See :meth:`Family.hub_repository`."""
        return "pytorch/vision"

    def statistics(self, architecture: str) -> ChannelStatistics:  # noqa: ARG002 (likewise)
        """See :meth:`Family.statistics`."""
        return IMAGENET


FAMILIES.add(NAME, ResNet23MFamily())
