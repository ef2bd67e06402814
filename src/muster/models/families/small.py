"""Small segmentation networks of three families, quick enough to train on one CPU core.

Each has 0.25 to 0.34 million parameters. Channel counts are multiples of eight, which CPU convolutions
are fastest with, and every convolution is followed by batch norm, so that a few hundred steps from scratch suffice.

Axis names: ``batch`` images, ``bands`` (channels), ``height`` and ``width`` of the images in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from muster.errors import PretrainingError
from muster.models.family import FAMILIES, Family
from muster.models.segmenter import Body, StageMaps


def _conv_norm_relu(
    channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Module:
    """A convolution that keeps the size (before the stride), batch norm and ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.first = _conv_norm_relu(channels_in, channels_out, stride=stride, dilation=dilation)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """Transform, add the shortcut, rectify."""
        return torch.relu(self.norm(self.second(self.first(maps))) + self.shortcut(maps))


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation to the size of another map."""
    return interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)


class SmallFPN(Body):
    """A residual encoder with strides 2 to 16, and a pyramid that sums coarse maps into fine ones.

    Source: the idea of feature pyramids, Lin et al. 2017, https://arxiv.org/abs/1612.03144; sizes are ours.
    """

    def __init__(self) -> None:
        """Make the layers, with weights from the global generator."""
        widths, pyramid = (24, 32, 64, 128), 48
        super().__init__(feature_channels=pyramid)
        self.stem = _conv_norm_relu(3, widths[0], stride=2)
        self.stages = nn.ModuleList(_Residual(a, b, stride=2) for a, b in pairwise(widths))
        self.laterals = nn.ModuleList(nn.Conv2d(width, pyramid, 1) for width in widths[1:])
        self.smooth = _conv_norm_relu(pyramid, pyramid)

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of the stem (1/2), of three encoder stages (1/4, 1/8, 1/16) and of the pyramid (1/4)."""
        encoded = [self.stem(images)]
        for stage in self.stages:
            encoded.append(stage(encoded[-1]))
        summed = self.laterals[-1](encoded[-1])
        for lateral, fine in zip(reversed(self.laterals[:-1]), reversed(encoded[1:-1]), strict=True):
            summed = lateral(fine) + _resized(summed, fine)
        return [[maps] for maps in (*encoded, self.smooth(summed))]


class SmallUNet(Body):
    """Plain convolutions down to 1/16 and back up to 1/2, with the encoder's maps concatenated on the way.

    Source: the idea of U-Net, Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; sizes are ours.
    """

    def __init__(self) -> None:
        """Make the layers, with weights from the global generator."""
        widths = (16, 24, 48, 96)
        super().__init__(feature_channels=widths[0])
        self.stem = _conv_norm_relu(3, widths[0], stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(_conv_norm_relu(a, b, stride=2), _conv_norm_relu(b, b)) for a, b in pairwise(widths)
        )
        self.up = nn.ModuleList(_conv_norm_relu(a + b, a) for a, b in pairwise(widths))

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of the stem (1/2), three steps down (1/4, 1/8, 1/16) and three steps up (1/8, 1/4, 1/2)."""
        encoded = [self.stem(images)]
        for step in self.down:
            encoded.append(step(encoded[-1]))
        maps = list(encoded)
        for step, skipped in zip(reversed(self.up), reversed(encoded[:-1]), strict=True):
            maps.append(step(torch.cat([skipped, _resized(maps[-1], skipped)], dim=1)))
        return [[each] for each in maps]


class SmallDilated(Body):
    """Residual blocks that stay at 1/8 and widen their view by dilation, plus the mean of the whole image.

    Source: the idea of DeepLab, Chen et al. 2017, https://arxiv.org/abs/1706.05587; sizes are ours.
    """

    def __init__(self) -> None:
        """Make the layers, with weights from the global generator."""
        super().__init__(feature_channels=48)
        self.stem = _conv_norm_relu(3, 24, stride=2)
        self.quarter = _conv_norm_relu(24, 32, stride=2)
        self.stages = nn.ModuleList(
            [_Residual(32, 64, stride=2), _Residual(64, 64, dilation=2), _Residual(64, 64, dilation=4)]
        )
        self.context = nn.Conv2d(64, 64, 1)
        self.fuse = _conv_norm_relu(64 + 32, 48)

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of the stem (1/2), the quarter (1/4), three stages (1/8) and their union at 1/4."""
        maps = [self.stem(images)]
        maps.append(self.quarter(maps[-1]))
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        coarse = maps[-1] + self.context(maps[-1].mean(dim=(2, 3), keepdim=True))
        maps.append(self.fuse(torch.cat([maps[1], _resized(coarse, maps[1])], dim=1)))
        return [[each] for each in maps]


SMALL_BODIES: dict[str, Callable[[], Body]] = {
    "small_dilated": SmallDilated,
    "small_fpn": SmallFPN,
    "small_unet": SmallUNet,
}
"""Every small architecture by its name."""


class SmallFamily(Family):
    """The networks of this file."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Family.names`."""
        return tuple(sorted(SMALL_BODIES))

    def takes(self, architecture: str) -> bool:
        """See :meth:`Family.takes`."""
        return architecture in SMALL_BODIES

    def build(self, architecture: str, imagenet: bool) -> Body:
        """See :meth:`Family.build`."""
        if imagenet:
            raise PretrainingError(
                f"There are no ImageNet weights for {architecture!r}. Use pretraining=none, a local .safetensors file, "
                "or another architecture."
            )
        return SMALL_BODIES[architecture]()


FAMILIES.add("small", SmallFamily())
