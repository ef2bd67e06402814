"""HRNetV2 of any width, on timm's high-resolution network.

**Sizes, as measured here.** The body of ``hrnet_w28`` has 22.54 M parameters, that of ``hrnet_w48`` 65.33 M; each class
adds 15 N + 1. A22 says 23 M of the first; of the second M21's table 2 says 69 M for the backbone alone. Its figure A.1
and its text show nothing that has the 3.9 M between. Two sums of parts of the published classifier (77.47 M) come to
69.2 M: the body, the layers that widen its four branches (1.79 M), and either the last convolution (2.10 M) or the
linear classifier (2.05 M). So that number may hold a part of the head of the pre-training, or another form of the
fusion layers; no code of either paper says which.

Axis names: ``batch`` images, ``bands`` (channels), ``height`` and ``width`` of the images in pixels.
"""

from __future__ import annotations

import re
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from muster.data.statistics import ChannelStatistics
from muster.errors import PretrainingError
from muster.late import late
from muster.models.family import FAMILIES, Family
from muster.models.hub import IMAGENET, hub_weights, timm_repository
from muster.models.segmenter import Body, StageMaps

timm = late("timm")

_NAME = re.compile(r"hrnet_w([1-9][0-9]*)")


class HRNetBody(Body):
    """Four branches at 1/4, 1/8, 1/16 and 1/32 with N, 2N, 4N and 8N channels, joined to 15 N channels at 1/4.

    Source: HRNetV2, Sun et al. 2019, https://arxiv.org/abs/1904.04514. Like there, the branches are upsampled
    bilinearly and concatenated; unlike there, one linear classifier follows, without a hidden layer.
    """

    def __init__(self, network: Any, width: int) -> None:
        """Take over the parts of timm's network that segmentation needs.

        Args:
            network: timm's ``HighResolutionNet``, without a classification head.
            width: N, the channels of its finest branch.
        """
        super().__init__(feature_channels=15 * width)
        self.stem = nn.Sequential(network.conv1, network.bn1, network.act1, network.conv2, network.bn2, network.act2)
        self.stage1 = network.layer1
        self.transitions = nn.ModuleList([network.transition1, network.transition2, network.transition3])
        self.stages = nn.ModuleList([network.stage2, network.stage3, network.stage4])

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of the four stages, which have one, two, three and four branches.

        Args:
            images: Normalised images.

        Returns:
            The stages, first to last, each finest branch first.
        """
        outputs: StageMaps = [[self.stage1(self.stem(images))]]
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            branches = outputs[-1]
            # A branch goes on from its own map; a new one starts from the coarsest there is.
            entering = [step(branches[min(i, len(branches) - 1)]) for i, step in enumerate(transition.children())]
            outputs.append(list(stage(entering)))
        return outputs


def pretrained_widths() -> tuple[int, ...]:
    """Widths for which timm has ImageNet weights."""
    names = (name.split(".")[0].removeprefix("hrnet_w") for name in timm.list_pretrained("hrnet_w*"))
    return tuple(sorted({int(name) for name in names if name.isdigit()}))


def hrnet_body(width: int, imagenet: bool) -> HRNetBody:
    """Build a body of any width.

    Args:
        width: N, the channels of the finest branch.
        imagenet: Whether to fetch ImageNet weights; otherwise weights are drawn from the global generator.

    Returns:
        The body.

    Raises:
        PretrainingError: If there are no ImageNet weights for this width, or they cannot be fetched.
    """
    if not imagenet:
        return HRNetBody(timm.models.hrnet.HighResolutionNet(_configuration(width), head=""), width)
    known = pretrained_widths()
    if width not in known:
        raise PretrainingError(
            f"There are no ImageNet weights for 'hrnet_w{width}': timm has them for widths "
            f"{', '.join(map(str, known))}. Use one of these, pretraining=none, or a local .safetensors file with "
            "published weights of that width (muster weights convert makes one of a .pth file)."
        )
    with hub_weights(f"timm's ImageNet weights of hrnet_w{width}"):
        network = timm.create_model(f"hrnet_w{width}", pretrained=True, features_only=True, feature_location="")
    return HRNetBody(network, width)


def _configuration(width: int) -> dict[str, Any]:
    """What timm calls the configuration of a network of this width; stage sizes as in the paper."""
    first = {
        "num_modules": 1,
        "num_branches": 1,
        "block_type": "BOTTLENECK",
        "num_blocks": (4,),
        "num_channels": (64,),
        "fuse_method": "SUM",
    }
    stages = {f"stage{k}": _stage(width, k, modules) for k, modules in ((2, 1), (3, 4), (4, 3))}
    return {"stem_width": 64, "stage1": first, **stages}


def _stage(width: int, branches: int, modules: int) -> dict[str, Any]:
    """One stage: each branch has half the resolution and twice the channels of the one before."""
    return {
        "num_modules": modules,
        "num_branches": branches,
        "block_type": "BASIC",
        "num_blocks": (4,) * branches,
        "num_channels": tuple(width * 2**i for i in range(branches)),
        "fuse_method": "SUM",
    }


class HRNetFamily(Family):
    """``hrnet_wN``, where N is any width."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Family.names`."""
        return ("hrnet_wN",)

    def takes(self, architecture: str) -> bool:
        """See :meth:`Family.takes`."""
        return _NAME.fullmatch(architecture) is not None

    def build(self, architecture: str, imagenet: bool) -> HRNetBody:
        """See :meth:`Family.build`."""
        return hrnet_body(int(architecture.removeprefix("hrnet_w")), imagenet)

    def backbone(self, architecture: str) -> str:
        """See :meth:`Family.backbone`."""
        return architecture

    def backbone_keys(self, body: Body) -> dict[str, str]:
        """See :meth:`Family.backbone_keys`: timm's names, which are those of the published networks."""
        return {key: _public_name(key) for key in body.state_dict()}

    def hub_repository(self, architecture: str) -> str:
        """See :meth:`Family.hub_repository`."""
        return timm_repository(architecture)

    def statistics(self, architecture: str) -> ChannelStatistics:  # noqa: ARG002 (of all widths)
        """See :meth:`Family.statistics`."""
        return IMAGENET


_PUBLIC = {
    "stem.0": "conv1",
    "stem.1": "bn1",
    "stem.3": "conv2",
    "stem.4": "bn2",
    "stage1": "layer1",
    **{f"transitions.{i}": f"transition{i + 1}" for i in range(3)},
    **{f"stages.{i}": f"stage{i + 2}" for i in range(3)},
}
"""What the parts of :class:`HRNetBody` are called in the published networks."""


def _public_name(key: str) -> str:
    part = next(part for part in _PUBLIC if key.startswith(f"{part}."))
    return _PUBLIC[part] + key.removeprefix(part)


FAMILIES.add("hrnet", HRNetFamily())
