"""ImageNet weights from a hub, for the encoder (SMP) or the body (HRNet)."""

from __future__ import annotations

from muster.models.family import Family
from muster.models.pretraining.scheme import SCHEMES, Scheme
from muster.models.segmenter import Body


class ImageNet(Scheme):
    """``imagenet``: each family knows where its weights are."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Scheme.names`."""
        return ("imagenet",)

    def build_body(self, family: Family, architecture: str, pretraining: str) -> Body:  # noqa: ARG002 (one name)
        """See :meth:`Scheme.build_body`."""
        return family.build(architecture, imagenet=True)


SCHEMES.add("imagenet", ImageNet())
