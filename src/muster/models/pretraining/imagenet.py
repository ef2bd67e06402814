"""ImageNet weights for the backbone: of this machine, of an installed package, or of a hub."""

from __future__ import annotations

from pathlib import Path

from muster.models.family import Family
from muster.models.pretraining.file import load_backbone
from muster.models.pretraining.local import LocalWeights, find_local
from muster.models.pretraining.scheme import SCHEMES, Scheme, StartedBody


class ImageNet(Scheme):
    """``imagenet``: what :func:`muster.models.pretraining.local.find_local` finds, and otherwise the family's hub."""

    def names(self) -> tuple[str, ...]:
        """See :meth:`Scheme.names`."""
        return ("imagenet",)

    def file(self, family: Family, architecture: str, pretraining: str) -> Path | None:  # noqa: ARG002 (one name)
        """See :meth:`Scheme.file`."""
        found = _find(family, architecture)
        return found.path if found else None

    def build_body(self, family: Family, architecture: str, pretraining: str) -> StartedBody:  # noqa: ARG002 (likewise)
        """See :meth:`Scheme.build_body`."""
        found = _find(family, architecture)
        if found is None:
            body = family.build(architecture, imagenet=True)
            return StartedBody(body, {"source": f"hub {family.hub_repository(architecture)}"})
        body = family.build(architecture, imagenet=False)
        told = load_backbone(family, architecture, body, found.tensors(), found.path)
        return StartedBody(body, found.known() | {"tensors": told})


def _find(family: Family, architecture: str) -> LocalWeights | None:
    backbone = family.backbone(architecture)
    return find_local(backbone, family.hub_repository(architecture)) if backbone else None


SCHEMES.add("imagenet", ImageNet())
