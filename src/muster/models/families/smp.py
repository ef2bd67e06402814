"""Any architecture of segmentation_models_pytorch (SMP) with any of its encoders, by name.

Axis names: ``batch`` images, ``bands`` (channels), ``height`` and ``width`` of the images in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from muster.data.preprocessing import SIDE_MULTIPLE
from muster.data.statistics import ChannelStatistics
from muster.errors import ConfigError, PretrainingError, unknown_name
from muster.late import late
from muster.models.family import FAMILIES, Family
from muster.models.hub import IMAGENET, hub_weights, timm_repository, timm_statistics
from muster.models.segmenter import Body, StageMaps

smp, timm = late("segmentation_models_pytorch"), late("timm")

# PAN pools its map, a sixteenth of the image, three times by two.
_MINIMUM_SIDES = {"pan": 128}

# SMP asks its hub; the others (dpn, inception, xception) have statistics of their own.
_USUAL_STATISTICS = ("resnet", "resnext", "se_", "vgg", "densenet", "efficientnet-", "mobilenet", "mobileone", "mit_")


class SMPBody(Body):
    """Encoder and decoder of an SMP network; its own segmentation head, and the upsampling in it, are left out."""

    def __init__(self, network: Any, minimum_side: int) -> None:
        """Take over encoder and decoder.

        Args:
            network: What SMP built, a ``SegmentationModel``.
            minimum_side: The smallest image side, in pixels, that it can take.
        """
        convolutions = [m for m in network.segmentation_head.modules() if isinstance(m, nn.Conv2d)]
        super().__init__(feature_channels=convolutions[0].in_channels, minimum_side=minimum_side)
        self.encoder = network.encoder
        self.decoder = network.decoder

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of every encoder stage, then the decoder's.

        Args:
            images: Normalised images.

        Returns:
            One map per stage.
        """
        encoded = self.encoder(images)
        if isinstance(encoded, tuple):  # vision transformers hand over their class tokens beside the maps
            encoded, tokens = encoded
            decoded = self.decoder(encoded, tokens)
        else:
            decoded = self.decoder(encoded)
        return [*_stages(encoded, images), [decoded]]

    def without_decoder(self) -> SMPEncoder:
        """See :meth:`Body.without_decoder`."""
        return SMPEncoder(self.encoder, self.encoder.out_channels[-1])


class SMPEncoder(Body):
    """The encoder of an SMP network alone."""

    def __init__(self, encoder: nn.Module, feature_channels: int) -> None:
        """Take over an encoder.

        Args:
            encoder: What SMP built.
            feature_channels: Channels of its last map.
        """
        super().__init__(feature_channels)
        self.encoder = encoder

    def forward(self, images: Float[Tensor, "batch bands height width"]) -> StageMaps:
        """Maps of every stage.

        Args:
            images: Normalised images.

        Returns:
            One map per stage.
        """
        encoded = self.encoder(images)
        return _stages(encoded[0] if isinstance(encoded, tuple) else encoded, images)


def _stages(encoded: Sequence[Tensor], images: Tensor) -> StageMaps:
    """SMP counts the image itself as the first map, and puts empty ones where an encoder skips a resolution."""
    return [[maps] for maps in encoded if maps is not images and maps.shape[1] > 0]


def smp_architectures() -> tuple[str, ...]:
    """The names before the colon."""
    return tuple(sorted(smp.MODEL_ARCHITECTURES_MAPPING))


def smp_body(architecture: str, encoder: str, imagenet: bool) -> SMPBody:
    """Build encoder and decoder.

    Args:
        architecture: One of :func:`smp_architectures`.
        encoder: An SMP encoder, or ``tu-`` and the name of a timm model.
        imagenet: Whether to fetch the encoder's weights; all others are drawn from the global generator.

    Returns:
        The body.

    Raises:
        ConfigError: If a name is not known, or the two do not go together.
        PretrainingError: If the encoder has no ImageNet weights, or they cannot be fetched.
    """
    check_encoder(architecture, encoder)
    if not imagenet:
        return _built(architecture, encoder, None)
    if not _has_imagenet_weights(encoder):
        raise PretrainingError(
            f"There are no ImageNet weights for encoder {encoder!r}. Use another encoder, pretraining=none, "
            "or a local .safetensors file."
        )
    with hub_weights(f"the ImageNet weights of encoder {encoder!r}", encoder.removeprefix("tu-")):
        return _built(architecture, encoder, True if encoder.startswith("tu-") else "imagenet")


def _built(architecture: str, encoder: str, weights: str | bool | None) -> SMPBody:
    """Let SMP build the network, and put what it refuses in our words."""
    try:
        network = smp.create_model(
            architecture, encoder, encoder_weights=weights, **_any_image_size(architecture, encoder)
        )
    except OSError:  # a hub out of reach, in some releases a ValueError too, is told by hub_weights
        raise
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"Architecture {architecture!r} and encoder {encoder!r} do not go together: {str(error).rstrip('.')}. "
            "Use another encoder, e.g. 'resnet18', or another architecture."
        ) from error
    return SMPBody(network, minimum_side(architecture))


def minimum_side(architecture: str) -> int:
    """The smallest image side, in pixels, that an architecture can take, whatever its encoder."""
    return _MINIMUM_SIDES.get(architecture, SIDE_MULTIPLE)


def _any_image_size(architecture: str, encoder: str) -> dict[str, bool]:
    """What makes a transformer of timm accept other image sizes than that of its pre-training."""
    if architecture == "dpt":
        return {"dynamic_img_size": True}
    return {"strict_img_size": False} if encoder.startswith("tu-swin") else {}


def _native_encoders() -> list[str]:
    """SMP's own encoders, without the names that SMP has given up in favour of ``tu-``."""
    return [name for name in smp.encoders.get_encoder_names() if not name.startswith("timm-")]


def check_encoder(architecture: str, encoder: str) -> None:
    """Refuse an encoder that neither SMP nor timm knows, and name those that are spelled alike.

    Args:
        architecture: One of :func:`smp_architectures`.
        encoder: What shall be its encoder.

    Raises:
        ConfigError: If the encoder is not known, or is not of the kind that the architecture is made for.
    """
    if architecture == "dpt" and not encoder.startswith("tu-"):
        raise ConfigError(
            f"Architecture 'dpt' needs a vision transformer of timm, e.g. 'dpt:tu-vit_tiny_patch16_224', "
            f"but got encoder {encoder!r}."
        )
    native = _native_encoders()
    if encoder in native:
        return
    name, _, tag = encoder.removeprefix("tu-").partition(".")
    if encoder.startswith("tu-") and timm.is_model(name):
        if tag and f"{name}.{tag}" not in timm.list_pretrained(f"{name}.*"):
            raise ConfigError(unknown_name(f"weights tag of encoder 'tu-{name}'", tag, _tags(name)))
        return
    universal = [f"tu-{model}" for model in timm.list_models()]
    near = get_close_matches(encoder, universal, n=5)
    raise ConfigError(f"{unknown_name('encoder', encoder, native + near)} So is 'tu-NAME' for any timm model NAME.")


def _tags(model: str) -> list[str]:
    """The sets of weights that timm has for one of its models."""
    return [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]


def _has_imagenet_weights(encoder: str) -> bool:
    """Whether a hub has weights for the encoder."""
    if encoder.startswith("tu-"):
        return bool(timm.models.is_model_pretrained(encoder.removeprefix("tu-")))
    return "imagenet" in smp.encoders.encoders[encoder]["pretrained_settings"]


def encoder_statistics(encoder: str) -> ChannelStatistics | None:
    """What images are normalised with where an encoder is trained on ImageNet.

    Args:
        encoder: An SMP encoder, or ``tu-`` and the name of a timm model.

    Returns:
        Means and deviations; ``None`` if they are not known.
    """
    if encoder.startswith("tu-"):
        return timm_statistics(encoder.removeprefix("tu-"))
    return IMAGENET if encoder.startswith(_USUAL_STATISTICS) else None


class SMPFamily(Family):
    """``NAME:ENCODER`` for each SMP architecture; ENCODER is one of SMP's, or ``tu-`` and the name of a timm model."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Family.names`."""
        return tuple(f"{name}:ENCODER" for name in smp_architectures())

    def takes(self, architecture: str) -> bool:
        """Every name with a colon, so that the message says which part of it is not known."""
        return ":" in architecture or architecture in smp_architectures()

    def check(self, architecture: str) -> None:
        """See :meth:`Family.check`."""
        name, colon, encoder = architecture.partition(":")
        if not colon:
            raise ConfigError(f"Architecture {name!r} needs the name of an encoder, e.g. '{name}:resnet18'.")
        if name not in smp_architectures():
            raise ConfigError(unknown_name("architecture (the part before the colon)", name, smp_architectures()))
        check_encoder(name, encoder)

    def build(self, architecture: str, imagenet: bool) -> SMPBody:
        """See :meth:`Family.build`."""
        name, _, encoder = architecture.partition(":")
        return smp_body(name, encoder, imagenet)

    def backbone(self, architecture: str) -> str:
        """See :meth:`Family.backbone`: the encoder."""
        return architecture.partition(":")[2].removeprefix("tu-")

    def backbone_keys(self, body: Body) -> dict[str, str]:
        """See :meth:`Family.backbone_keys`."""
        keys = [key for key in body.state_dict() if key.startswith("encoder.")]
        return {key: key.removeprefix("encoder.").removeprefix("model.") for key in keys}

    def hub_repository(self, architecture: str) -> str:
        """See :meth:`Family.hub_repository`."""
        encoder = architecture.partition(":")[2]
        if encoder.startswith("tu-"):
            return timm_repository(encoder.removeprefix("tu-"))
        settings = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {})
        return str(settings.get("imagenet", {}).get("repo_id", ""))

    def statistics(self, architecture: str) -> ChannelStatistics | None:
        """See :meth:`Family.statistics`."""
        return encoder_statistics(architecture.partition(":")[2])


FAMILIES.add("smp", SMPFamily())
