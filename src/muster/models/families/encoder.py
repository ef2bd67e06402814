"""The encoder of a segmentation network alone, by name: the usual network for classifying whole images.

Its head reads the mean of the last map, as that of a ResNet does. Networks of fully connected layers (VGG) are without
these.
"""

from __future__ import annotations

from muster.errors import ConfigError
from muster.models.families.smp import SMPEncoder, SMPFamily, check_encoder, smp_body
from muster.models.family import FAMILIES

PREFIX = "encoder:"

_BASE = "fpn"
"""An architecture that takes every encoder with maps; its decoder is left out."""


class EncoderFamily(SMPFamily):
    """``encoder:ENCODER``; ENCODER is one of SMP's, or ``tu-`` and the name of a timm model."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Family.names`."""
        return (f"{PREFIX}ENCODER",)

    def takes(self, architecture: str) -> bool:
        """See :meth:`Family.takes`."""
        return architecture.startswith(PREFIX)

    def check(self, architecture: str) -> None:
        """See :meth:`Family.check`."""
        encoder = architecture.removeprefix(PREFIX)
        if not encoder:
            raise ConfigError(f"Architecture {architecture!r} needs the name of an encoder, e.g. '{PREFIX}resnet18'.")
        check_encoder(_BASE, encoder)

    def build(self, architecture: str, imagenet: bool) -> SMPEncoder:  # type: ignore[override]  # half of the other
        """See :meth:`Family.build`."""
        return smp_body(_BASE, architecture.removeprefix(PREFIX), imagenet).without_decoder()


FAMILIES.add("encoder", EncoderFamily())
